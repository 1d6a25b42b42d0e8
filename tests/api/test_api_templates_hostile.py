"""Templates that never end, in a request and in a created model: others are answered meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, answer, error, generate

from jupyter_ollama.config import OllamaServer

CALL = '{{{{ template "{0}" . }}}}'
TWICE = '{{{{ define "{1}" }}}}' + CALL + CALL + "{{{{ end }}}}"
ENDLESS = '{{ define "t0" }}x{{ end }}' + "".join(
    TWICE.format(f"t{n}", f"t{n + 1}") for n in range(40)
)
ENDLESS += CALL.format("t40")


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


@pytest.fixture
def ollama_server(ollama_server: OllamaServer) -> OllamaServer:
    ollama_server.template_seconds = 0.3
    return ollama_server


async def statuses(fetch: Fetch, bodies: list[dict[str, Any]]) -> list[tuple[int, str]]:
    responses = await asyncio.gather(*(fetch("POST", "/api/generate", body) for body in bodies))
    return [(response.code, error(response)) for response in responses]


@pytest.mark.parametrize("way", ["request", "suffix", "created"])
async def test_an_endless_template_costs_its_own_request_only(
    standalone: Fetch, ollama_server: OllamaServer, way: str
) -> None:
    before = await answer(standalone, "/api/generate", generate(stream=False))
    (loaded,) = ollama_server.scheduler.loaded()
    pid = loaded.runner.pid
    hostile = generate(template=ENDLESS)
    if way == "suffix":
        hostile = generate(template=ENDLESS + "{{ .Suffix }}", suffix="x")
    if way == "created":
        body = {"model": "endless", "from": "smollm2", "template": ENDLESS, "stream": False}
        await answer(standalone, "/api/create", body)
        hostile = generate(model="endless")
    attacks = asyncio.create_task(statuses(standalone, [hostile, hostile | {"stream": False}]))
    beside = await answer(standalone, "/api/generate", generate(stream=False))
    assert beside["response"] == before["response"]
    for status, message in await attacks:
        assert status == 400
        assert way == "suffix" or message.startswith("template error: ")
    after = await answer(standalone, "/api/generate", generate(stream=False))
    assert after["response"] == before["response"]
    (loaded,) = ollama_server.scheduler.loaded()
    assert loaded.runner.pid == pid


async def test_a_long_template_of_a_request_is_refused(standalone: Fetch) -> None:
    for length in (5_000, 70_000):
        response = await standalone(
            "POST", "/api/generate", generate(template="{{ if }}" * (length // 8))
        )
        assert response.code == 400
        assert "template" in error(response)
