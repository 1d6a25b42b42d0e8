"""The speed of a model on this host: in a runner, and in the bare loop for comparison."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..engine.events import Done, Ready, Text
from ..engine.model_runner import ModelRunner
from ..engine.protocol import LoadSpec, RawPrompt
from ..engine.runner_process import ENVIRONMENT
from ..engine.workload import PROMPT_WORDS, prompts
from ..options import Options, merge_options
from ..scheduler.loaded import LoadedModel
from .command import CommandError

if TYPE_CHECKING:
    from ..config import OllamaServer
    from ..library.model import Model

GREEDY = {
    "temperature": 0,
    "num_predict": -1,
    "stop": [],
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}

SAME_MESSAGE = 0.005
"""Seconds within which the streams are woken that one message is for."""


@dataclass(frozen=True)
class Speed:
    """Tokens a second, of all streams together."""

    decode: float
    prefill: float


@dataclass(frozen=True)
class Workload:
    """Each stream generates ``tokens``; all together read ``prompt_tokens`` or somewhat more."""

    streams: tuple[int, ...]
    tokens: int
    prompt_tokens: int


@dataclass(frozen=True)
class Served:
    """The specification of a runner, its state, and its speed by number of streams."""

    spec: LoadSpec
    ready: Ready
    speeds: dict[int, Speed]


@dataclass(frozen=True)
class Stream:
    """An answer: the times and lengths of its pieces, and its number of tokens."""

    pieces: list[tuple[float, int]]
    tokens: int


async def serve(server: OllamaServer, model: Model, workload: Workload, key: str) -> Served:
    """Load a model as the server would, measure it and unload it.

    Numbers of streams that the runner does not hold at once are left out. ``key`` must be new for
    every call that must not reuse prompts. Raises OllamaError, or CommandError where nothing
    can be measured.
    """
    options, _ = merge_options(model.params, GREEDY)
    speeds: dict[int, Speed] = {}
    try:
        async with await server.scheduler.acquire(model, options) as lease:
            runner, loaded = lease.runner, lease.loaded
            assert isinstance(loaded, LoadedModel), "a model of the library runs here"
            await prefill(runner, lease.options, prompts(1, PROMPT_WORDS, key))
            for count in workload.streams:
                if count > loaded.runner.ready.slots:
                    continue
                short = prompts(count, PROMPT_WORDS, f"{key} {count} decode")
                long = prompts(count, workload.prompt_tokens // count, f"{key} {count} prefill")
                speeds[count] = Speed(
                    await decode(runner, lease.options, short, workload.tokens),
                    await prefill(runner, lease.options, long),
                )
            if not speeds:
                most = loaded.runner.ready.slots
                raise CommandError(f"the server runs at most {most} streams at once")
            return Served(loaded.spec, loaded.runner.ready, speeds)
    finally:
        await server.stop()


async def decode(runner: ModelRunner, options: Options, texts: list[str], tokens: int) -> float:
    """Return tokens a second of streams while all of them generate, about ``tokens`` each.

    Raises OllamaError, or CommandError if they are never at it together.
    """
    # The first ones are ahead by the steps in which the prompts of the others are read.
    options = msgspec.structs.replace(options, num_predict=tokens + 2 * len(texts))
    return speed_together(await asyncio.gather(*(follow(runner, options, text) for text in texts)))


async def follow(runner: ModelRunner, options: Options, text: str) -> Stream:
    """Generate, and record the time and length of each piece."""
    pieces: list[tuple[float, int]] = []
    async with aclosing(runner.generate(RawPrompt(text), options, truncate=False)) as events:
        async for event in events:
            if isinstance(event, Text):
                pieces.append((time.perf_counter(), len(event.text)))
            elif isinstance(event, Done):
                return Stream(pieces, event.eval_count)
    raise AssertionError("unreachable")


def speed_together(streams: Sequence[Stream]) -> float:
    """Return tokens a second from when the last stream began to when the first one ended.

    A message of the runner has the text of all streams up to then, of several tokens each: so the
    tokens are estimated from the length of the text. Raises CommandError if there is no such time.
    """
    start = max((stream.pieces[0][0] for stream in streams if stream.pieces), default=0.0)
    stop = min((stream.pieces[-1][0] for stream in streams if stream.pieces), default=0.0)
    if stop <= start + SAME_MESSAGE or not all(stream.pieces for stream in streams):
        raise CommandError("the model ends its answers too soon to measure its speed")
    tokens = 0.0
    for stream in streams:
        whole = sum(length for _, length in stream.pieces)
        inside = [
            n for t, n in stream.pieces if SAME_MESSAGE < t - start <= stop - start + SAME_MESSAGE
        ]
        tokens += stream.tokens * sum(inside) / whole
    return tokens / (stop - start)


async def prefill(runner: ModelRunner, options: Options, texts: list[str]) -> float:
    """Return tokens a second of reading prompts at once, up to the first token of the last."""
    only_read = msgspec.structs.replace(options, num_predict=1)

    async def read(text: str) -> int:
        events = runner.generate(RawPrompt(text), only_read, truncate=False)
        async with aclosing(events):
            return sum(
                [e.prompt_eval_count - e.cached async for e in events if isinstance(e, Done)]
            )

    start = time.perf_counter()
    counts = await asyncio.gather(*map(read, texts))
    return sum(counts) / (time.perf_counter() - start)


def limit(spec: LoadSpec, path: Path, workload: Workload) -> dict[int, Speed]:
    """Return the speeds of the bare loop on a file, loaded by ``spec``. Raises CommandError."""
    command = [
        *(sys.executable, "-P", "-m", "jupyter_ollama.engine.bare_loop"),
        *(str(path), *map(str, workload.streams)),
        *("--tokens", str(workload.tokens), "--prefill", str(workload.prompt_tokens)),
        *("--spec", msgspec.json.encode(spec).decode()),
    ]
    environment = {**ENVIRONMENT, **os.environ}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise CommandError(f"the bare loop failed: {last[0]}")
    decoded, read = (msgspec.json.decode(line) for line in done.stdout.splitlines())
    return {n: Speed(decoded[str(n)], read[str(n)]) for n in workload.streams}
