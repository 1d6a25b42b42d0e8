"""Who makes way where memory is short: idle models, the least recently used first; none in use."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from scheduling import raises, scheduling, use

from jupyter_ollama.engine.handle import LoadRefused, Runner
from jupyter_ollama.engine.protocol import LoadFailed, LoadSpec
from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.scheduler import Scheduler

SHORT = "model requires more system memory (2.0 GiB) than is available (1.0 GiB)"


class Host:
    """A made-up host with room for a number of runners; all else about them is real."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.shortage = 1
        self.refused = 0
        self._runners: list[Runner] = []
        self._start = Runner.start

    async def start(self, spec: LoadSpec, load_timeout: float) -> Runner:
        """Start a runner if there is room for it."""
        if sum(runner.is_alive for runner in self._runners) >= self.room:
            self.refused += 1
            raise LoadRefused(LoadFailed(SHORT, required=2**30 + self.shortage, available=2**30))
        self._runners.append(await self._start(spec, load_timeout))
        return self._runners[-1]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with room for three."""
    host = Host(3)
    monkeypatch.setattr(Runner, "start", host.start)
    return host


def names(scheduler: Scheduler) -> str:
    return "".join(sorted(loaded.model.name.display[0] for loaded in scheduler.loaded()))


async def touch(scheduler: Scheduler, *models: Model, keep_alive: float | None = None) -> None:
    for model in models:
        async with await scheduler.acquire(model, Options(), keep_alive):
            pass


async def test_the_least_recently_used_makes_way(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, b, c)
        # How long each is to be kept plays no role, being used does.
        await touch(scheduler, a, keep_alive=60)
        await touch(scheduler, d)
        assert names(scheduler) == "acd"
        await touch(scheduler, b)
        assert names(scheduler) == "abd"
        assert host.refused == 2


async def test_one_too_many_makes_the_least_recently_used_go(
    scratch_store: Path, models: list[Model]
) -> None:
    a, b, c, _ = models
    async with scheduling(scratch_store, max_loaded_models=2) as scheduler:
        await touch(scheduler, a, b, a, c)
        assert names(scheduler) == "ac"


async def test_what_is_kept_for_ever_goes_last(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, keep_alive=math.inf)
        await touch(scheduler, b, c, d)
        assert names(scheduler) == "acd"
        host.room = 1
        await touch(scheduler, b)
        assert names(scheduler) == "b"


async def test_models_in_use_stay_and_the_request_is_told(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        async with AsyncExitStack() as stack:
            for model in (a, b):
                await stack.enter_async_context(await scheduler.acquire(model, Options()))
            await touch(scheduler, c)
            host.room = 2
            await raises(500, "requires more system memory", scheduler.acquire(d, Options()))
            # The idle one went first, in vain.
            assert names(scheduler) == "ab"
        host.room = 3
        await touch(scheduler, d)
        assert names(scheduler) == "abd"


async def test_nothing_goes_that_would_not_help(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, b, c)
        host.shortage = 2**40
        await raises(500, "requires more system memory", scheduler.acquire(d, Options()))
        assert names(scheduler) == "abc"


async def test_requests_at_once_get_the_same_freed_place(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, b, c)
        leases = await asyncio.gather(*(scheduler.acquire(d, Options()) for _ in range(5)))
        assert len({lease.runner.pid for lease in leases}) == 1
        assert names(scheduler) == "bcd"
        assert host.refused == 1
        for lease in leases:
            async with lease:
                assert (await lease.runner.embed(["text"], 512)).size == 384


async def test_a_context_beyond_all_memory_is_refused_by_the_runner(
    ollama_store: Path, smollm2: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not made up, but for the length the model is said to be trained on."""
    monkeypatch.setitem(smollm2.header.metadata, "llama.context_length", 10**9)
    async with scheduling(ollama_store) as scheduler:
        asking = scheduler.acquire(smollm2, Options(num_ctx=10**9))
        await raises(500, "requires more system memory .* than is available", asking)
        async with await scheduler.acquire(smollm2, Options()) as lease:
            assert (await use(lease)).eval_count == 3
