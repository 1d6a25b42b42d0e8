"""Thousands of requests with hostile numbers: the runner that began with them outlives them all."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import hostile_requests
import pytest
from api_client import Fetch, answer, generate

from jupyter_ollama.config import OllamaServer

COUNT = int(os.environ.get("FUZZ_REQUESTS", "150"))
FIRST_SEED = int(os.environ.get("FUZZ_SEED", "0"))
AT_ONCE = 6

CRASHED = b"unexpectedly stopped"


@pytest.fixture
def models_dir(ollama_store: Path) -> Path:
    return ollama_store


async def run_all(fetch: Fetch, make: Any, count: int) -> dict[int, int]:
    """Send the requests of so many seeds and return how many got each status."""
    seeds = iter(range(FIRST_SEED, FIRST_SEED + count))
    statuses: dict[int, int] = {}

    async def work() -> None:
        for seed in seeds:
            path, body = make(seed)
            response = await fetch("POST", path, {"model": "smollm2"} | body)
            request = f"seed {seed}: {path} {str(body)[:2000]}"
            reported = f"{request} {response.code} {response.body[:300]}"
            assert CRASHED not in response.body, reported
            assert response.code in (200, 400), reported
            statuses[response.code] = statuses.get(response.code, 0) + 1

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work())
    return statuses


async def test_hostile_numbers_leave_the_runner_and_its_answers_as_they_were(
    standalone: Fetch, ollama_server: OllamaServer
) -> None:
    before = await answer(standalone, "/api/generate", generate(stream=False))
    (loaded,) = ollama_server.scheduler.loaded()
    pid = loaded.runner.pid
    statuses = await run_all(standalone, hostile_requests.sampled, COUNT)
    assert statuses[200] > COUNT / 10
    assert statuses[400] > COUNT / 10
    after = await answer(standalone, "/api/generate", generate(stream=False))
    assert after["response"] == before["response"]
    (loaded,) = ollama_server.scheduler.loaded()
    assert loaded.runner.pid == pid
