"""A process that waits for the next model: it is used, replaced, and ended with the server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from scheduling import eventually, scheduling, use

from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.scheduler import Scheduler


def processes() -> set[int]:
    """Return the ids of the runners of this process."""
    found = set()
    for one in psutil.Process().children():
        with suppress(psutil.Error):  # it has just ended
            if "jupyter_ollama.engine.runner" in one.cmdline():
                found.add(one.pid)
    return found


def waiting(scheduler: Scheduler) -> int | None:
    """Return the id of the process without a model, None if there is none."""
    return next(iter(processes() - {one.runner.pid for one in scheduler.loaded()}), None)


def spare_of(scheduler: Scheduler) -> int | None:
    """Return the id of the process that the next load would use."""
    return scheduler._loader._spare.pid


async def load(scheduler: Scheduler, model: Model) -> int:
    """Load a model, have it answer, unload it; return the id of its process."""
    async with await scheduler.acquire(model, Options(), 0) as lease:
        assert (await use(lease)).eval_count == 3
        return lease.runner.pid


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("jupyter_ollama.engine.spare_runner.QUIET_SECONDS", 0.05)
    yield
    assert not processes(), "a server ends all of its processes"


async def test_the_next_load_uses_it(ollama_store: Path, smollm2: Model, quick: None) -> None:
    async with scheduling(ollama_store, spare_runner_seconds=60) as scheduler:
        assert waiting(scheduler) is None, "none before the first load"
        first = await load(scheduler, smollm2)
        await eventually(lambda: spare_of(scheduler) is not None)
        spare = spare_of(scheduler)
        assert spare != first
        assert await load(scheduler, smollm2) == spare
        await eventually(lambda: waiting(scheduler) not in (None, spare))


async def test_it_starts_when_no_model_is_used(
    ollama_store: Path, smollm2: Model, quick: None
) -> None:
    async with scheduling(ollama_store, spare_runner_seconds=60) as scheduler:
        async with await scheduler.acquire(smollm2, Options(), None) as lease:
            for _ in range(4):
                await use(lease, 30)
            assert waiting(scheduler) is None
        await eventually(lambda: waiting(scheduler) is not None)


async def test_a_killed_one_is_replaced(ollama_store: Path, smollm2: Model, quick: None) -> None:
    async with scheduling(ollama_store, spare_runner_seconds=60) as scheduler:
        await load(scheduler, smollm2)
        await eventually(lambda: spare_of(scheduler) is not None)
        killed = spare_of(scheduler)
        assert killed
        os.kill(killed, signal.SIGKILL)
        await load(scheduler, smollm2)
        await eventually(lambda: waiting(scheduler) not in (None, killed))


async def test_it_has_the_environment_of_the_next_load(
    ollama_store: Path, smollm2: Model, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scheduling(ollama_store, spare_runner_seconds=60) as scheduler:
        await load(scheduler, smollm2)
        await eventually(lambda: spare_of(scheduler) is not None)
        old = spare_of(scheduler)
        monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
        async with await scheduler.acquire(smollm2, Options(), None) as lease:
            process = psutil.Process(lease.runner.pid)
            assert process.pid != old
            assert process.environ()["OMP_WAIT_POLICY"] == "passive"


@pytest.mark.parametrize("seconds", [0.0, 1.0])
async def test_it_ends_some_time_after_the_last_load(
    ollama_store: Path, smollm2: Model, quick: None, seconds: float
) -> None:
    async with scheduling(ollama_store, spare_runner_seconds=seconds) as scheduler:
        await load(scheduler, smollm2)
        if seconds:
            await eventually(lambda: waiting(scheduler) is not None)
        await eventually(lambda: not processes())
        await asyncio.sleep(0.3)
        assert not processes()
