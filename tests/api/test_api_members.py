"""Users who may not change models cannot affect the models that others use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from api_client import chat, error, generate, lines, wait_until
from shared_server import Shared, sharing
from tornado.httpclient import HTTPResponse

SHORT = {"temperature": 0, "num_predict": 2}
IGNORED = "X-Ollama-Ignored"
ANN, EVE, ROOT = "ann/members", "eve/members", "root"


async def ask(
    shared: Shared, user: str, path: str = "/api/generate", **fields: Any
) -> HTTPResponse:
    body = generate(options=SHORT | fields.pop("options", {}), stream=False, raw=True) | fields
    return await shared.user(user)("POST", path, body)


@asynccontextmanager
async def shared_by_two(store: Path, **traits: Any) -> AsyncIterator[Shared]:
    """Run a server that two members have used."""
    async with sharing(models_dir=str(store), **traits) as shared:
        for user in (ANN, EVE):
            assert (await ask(shared, user)).code == 200
        yield shared


def pid(shared: Shared) -> int:
    (loaded,) = shared.server.scheduler.loaded()
    return loaded.runner.pid


async def test_members_change_nothing_of_how_a_model_is_loaded(ollama_store: Path) -> None:
    async with shared_by_two(ollama_store, keep_alive=100) as shared:
        before = pid(shared)
        for options in ({"num_parallel": 1}, {"num_thread": 1}, {"num_thread": 2}, {"num_gpu": 0}):
            response = await ask(shared, EVE, options=options, keep_alive=-1)
            assert response.code == 200
            assert response.headers[IGNORED] == ", ".join(sorted([*options, "keep_alive"]))
        for num_ctx in (8192, 5000, 6000):
            response = await ask(shared, EVE, options={"num_ctx": num_ctx})
            assert response.headers[IGNORED] == "num_ctx"
        assert IGNORED not in (await ask(shared, EVE, options={"num_ctx": 512})).headers
        assert IGNORED not in (await ask(shared, EVE)).headers
        for keep_alive in (0, "0s", 1):
            assert (await ask(shared, EVE, keep_alive=keep_alive)).headers[IGNORED] == "keep_alive"
        (loaded,) = shared.server.scheduler.loaded()
        assert (loaded.runner.pid, loaded.keep_alive) == (before, 100)
        assert (await ask(shared, ROOT, options={"num_thread": 1})).code == 200
        assert pid(shared) != before


async def test_members_do_not_unload(ollama_store: Path) -> None:
    async with shared_by_two(ollama_store) as shared:
        before = pid(shared)
        empty = {"model": "smollm2", "keep_alive": 0}
        for path in ("/api/generate", "/api/chat"):
            response = await shared.user(EVE)("POST", path, empty)
            assert (response.code, "unload" in error(response)) == (403, True)
        assert pid(shared) == before
        assert (await shared.user(ROOT)("POST", "/api/generate", empty)).code == 200
        await wait_until(lambda: not shared.server.scheduler.loaded())


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_streams_say_what_was_ignored_before_their_first_part(
    ollama_store: Path, path: str
) -> None:
    async with shared_by_two(ollama_store) as shared:
        body = chat(options=SHORT | {"num_thread": 1}, stream=True, max_tokens=2)
        response = await shared.user(EVE)("POST", path, body)
        assert response.code == 200
        assert response.headers[IGNORED] == "num_thread"


async def test_a_server_of_one_user_is_as_ollamas(ollama_store: Path) -> None:
    async with sharing(models_dir=str(ollama_store)) as shared:
        await ask(shared, ANN)
        before = pid(shared)
        response = await ask(shared, ANN, options={"num_thread": 1}, keep_alive=7)
        assert IGNORED not in response.headers
        (loaded,) = shared.server.scheduler.loaded()
        assert loaded.runner.pid != before
        assert loaded.keep_alive == 7
    async with sharing(models_dir=str(ollama_store), shared=True) as shared:
        assert (await ask(shared, ANN, options={"num_thread": 1})).headers[IGNORED] == "num_thread"
    async with shared_by_two(ollama_store, shared=False) as shared:
        assert IGNORED not in (await ask(shared, EVE, options={"num_thread": 1})).headers


async def test_one_user_does_not_take_all_slots(ollama_store: Path) -> None:
    async with shared_by_two(ollama_store, num_parallel=4) as shared:
        endless = {"num_predict": 400, "num_ctx": 512, "logit_bias": {"0": -100, "2": -100}}
        tasks = [
            asyncio.create_task(ask(shared, EVE, options=endless, stream=True)) for _ in range(8)
        ]
        accounts = shared.server.admission.accounts
        await wait_until(lambda: accounts["eve"].running == 2)
        await wait_until(lambda: accounts["eve"].waiting == 6)
        assert (await ask(shared, ANN)).code == 200
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
    limits = {"*": {"concurrent": None}}
    async with shared_by_two(ollama_store, num_parallel=4, limits=limits) as shared:
        tasks = [asyncio.create_task(ask(shared, EVE, options=endless)) for _ in range(4)]
        await wait_until(lambda: shared.server.admission.accounts["eve"].running == 4)
        for task in tasks:
            task.cancel()


async def test_health_compares_slots_with_requests(ollama_store: Path) -> None:
    async with shared_by_two(ollama_store, lost_slot_seconds=0.1) as shared:

        async def slots() -> dict[str, int]:
            response = await shared.user(ANN)("GET", "/health")
            assert response.code == 200
            found: dict[str, int] = json.loads(response.body)["slots"]
            return found

        assert await slots() == {"held": 0, "lost": 0, "recovered": 0}
        scheduler = shared.server.scheduler
        kept = []

        def lose(lease: Any) -> None:
            kept.append(lease)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("jupyter_ollama.scheduler.lease.Lease.release", lose)
            assert lines(await ask(shared, EVE))[-1]["done"]
        assert kept
        await wait_until(lambda: scheduler.watchdog.recovered == 1)
        assert await slots() == {"held": 0, "lost": 0, "recovered": 1}
        (loaded,) = scheduler.loaded()
        assert loaded.users == 0
        assert shared.server.admission.accounts["eve"].running == 0
