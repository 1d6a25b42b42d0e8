"""Runner processes for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.runner_client import RunnerClient


@asynccontextmanager
async def running(model: Path, **spec: object) -> AsyncIterator[RunnerClient]:
    """Start a runner for a GGUF, with the given fields of LoadSpec, and end it afterwards."""
    runner = await RunnerClient.start(LoadSpec(model=str(model), **spec), load_timeout=60)
    try:
        yield runner
    finally:
        await runner.stop()
