"""A scheduler with real runners, and helpers for its tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.lease import Lease
from jupyter_ollama.scheduler.scheduler import Scheduler


@asynccontextmanager
async def scheduling(store: Path, **traits: object) -> AsyncIterator[Scheduler]:
    traits = {"spare_runner_seconds": 0} | traits
    server = OllamaServer(models_dir=str(store), **traits)
    try:
        yield server.scheduler
    finally:
        await server.stop()


async def use(lease: Lease, tokens: int = 3) -> Done:
    async for event in lease.runner.generate(
        RawPrompt("Once upon a time"), Options(num_predict=tokens, num_ctx=lease.num_ctx)
    ):
        if isinstance(event, Done):
            return event
    raise AssertionError("no Done")


async def eventually(condition: Callable[[], bool], seconds: float = 10) -> None:
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the condition did not become true")


async def raises(status: int, text: str, action: Awaitable[object]) -> None:
    with pytest.raises(OllamaError, match=text) as caught:
        await action
    assert caught.value.status == status


def names(scheduler: Scheduler) -> str:
    return "".join(sorted(loaded.model.name.display[0] for loaded in scheduler.loaded()))


async def touch(scheduler: Scheduler, *models: Model, keep_alive: float | None = None) -> None:
    for model in models:
        async with await scheduler.acquire(model, Options(), keep_alive):
            pass
