"""Runner processes for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.runner_client import RunnerClient


@asynccontextmanager
async def running(
    model: Path, *, load_timeout: float = 60, **spec: object
) -> AsyncIterator[RunnerClient]:
    """Start a runner for a GGUF, with the given fields of LoadSpec, and end it afterwards."""
    runner = await RunnerClient.start(LoadSpec(model=str(model), **spec), load_timeout)
    try:
        yield runner
    finally:
        await runner.stop()


running_on_gpu = partial(running, load_timeout=400)
"""The same where Mesa's software driver may have to compile its kernels first, once on a host."""
