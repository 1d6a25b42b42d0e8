"""Runner processes for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jupyter_ollama.engine.handle import Runner
from jupyter_ollama.engine.protocol import LoadSpec


@asynccontextmanager
async def running(model: Path, **spec: object) -> AsyncIterator[Runner]:
    """Start a runner for a GGUF, with the fields of LoadSpec as wanted, and end it afterwards."""
    runner = await Runner.start(LoadSpec(model=str(model), **spec), load_timeout=60)
    try:
        yield runner
    finally:
        await runner.stop()
