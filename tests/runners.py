"""Runner processes for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.protocol import ChatPrompt, LoadSpec, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.options import Options

Answer = list[tuple[bytes, float]]
"""Tokens with their log-probabilities."""


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


async def answer_with_probabilities(
    runner: RunnerClient, prompt: RawPrompt | ChatPrompt, options: Options, **details: Any
) -> tuple[Answer, Done]:
    """Return the tokens of an answer, and its end."""
    found: Answer = []
    async with aclosing(runner.generate(prompt, options, logprobs=0, **details)) as events:
        async for event in events:
            if isinstance(event, Text):
                found += [(one.piece, one.logprob) for one in event.logprobs or ()]
            if isinstance(event, Done):
                return found, event
    raise AssertionError("no Done")
