"""A server whose models are partly on workers: its reports, and the loss of a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, answer, error, generate
from workers import Worker, working

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.runner_failures import CRASHED

MIB = 2**20
SPLIT = {"temperature": 0, "num_predict": 8, "num_ctx": 256, "tensor_split": [1, 1]}


@pytest.fixture
def models_dir(ollama_store: Path) -> Path:
    return ollama_store


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    with working(2, "--memory=1") as found:
        yield found


@pytest.fixture
def ollama_server(ollama_server: OllamaServer, workers: list[Worker]) -> OllamaServer:
    ollama_server.rpc_servers = [worker.endpoint for worker in workers]
    return ollama_server


async def loaded(fetch: Fetch) -> dict[str, dict[str, Any]]:
    models = json.loads((await fetch("GET", "/api/ps")).body)["models"]
    return {model["name"]: model for model in models}


async def test_a_lost_worker(standalone: Fetch, workers: list[Worker]) -> None:
    body = generate(stream=False, options=SPLIT)
    first = await answer(standalone, "/api/generate", body)
    (model,) = (await loaded(standalone)).values()
    assert model["size"] - 80 * MIB < model["size_vram"] < model["size"] - 20 * MIB
    workers[0].kill()
    lost = await standalone("POST", "/api/generate", body)
    assert (lost.code, error(lost)) == (500, CRASHED)
    away = await standalone("POST", "/api/generate", body)
    assert away.code == 500
    assert error(away).startswith(f"the worker at {workers[0].endpoint} cannot be reached")
    workers[0].start()
    workers[0].wait()
    again = await answer(standalone, "/api/generate", body)
    assert again["response"] == first["response"]


async def test_a_model_on_a_worker_is_evicted(standalone: Fetch) -> None:
    await answer(standalone, "/api/generate", generate(stream=False, options=SPLIT))
    body = {"model": "all-minilm", "input": "a lighthouse", "options": {"tensor_split": [1, 1]}}
    await answer(standalone, "/api/embed", body)
    (model,) = (await loaded(standalone)).values()
    assert model["name"] == "all-minilm:latest"
    assert model["size_vram"] > 10 * MIB


async def test_a_model_that_fits_stays_local(standalone: Fetch, workers: list[Worker]) -> None:
    workers[0].kill()
    await answer(standalone, "/api/generate", generate(stream=False))
    (model,) = (await loaded(standalone)).values()
    assert model["size_vram"] == 0
