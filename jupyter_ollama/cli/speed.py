"""How fast this host runs a model: a runner as the server has it, and the bare loop beside it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..engine.handle import ENVIRONMENT, Runner
from ..engine.protocol import Done, LoadSpec, RawPrompt, Ready
from ..engine.workload import PROMPT_WORDS, prompts
from ..options import Options, merge_options
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
    """What a runner was asked for, what it got, and its speed by number of streams."""

    spec: LoadSpec
    ready: Ready
    speeds: dict[int, Speed]


async def serve(server: OllamaServer, model: Model, workload: Workload, key: str) -> Served:
    """Load a model as the server would, measure it and unload it.

    Numbers of streams that the runner does not hold at once are left out. ``key`` must be new for
    every call that shall read its prompts anew. Raises OllamaError, or CommandError where nothing
    can be measured.
    """
    options, _ = merge_options(model.params, GREEDY)
    speeds: dict[int, Speed] = {}
    try:
        async with await server.scheduler.acquire(model, options) as lease:
            runner = lease.runner
            await prefill(runner, lease.options, prompts(1, PROMPT_WORDS, key))
            for count in workload.streams:
                if count > runner.ready.slots:
                    continue
                short = prompts(count, PROMPT_WORDS, f"{key} {count} decode")
                long = prompts(count, workload.prompt_tokens // count, f"{key} {count} prefill")
                speeds[count] = Speed(
                    await decode(runner, lease.options, short, workload.tokens),
                    await prefill(runner, lease.options, long),
                )
            if not speeds:
                raise CommandError(f"the server runs at most {runner.ready.slots} streams at once")
            return Served(runner.spec, runner.ready, speeds)
    finally:
        await server.stop()


async def decode(runner: Runner, options: Options, texts: list[str], tokens: int) -> float:
    """Return tokens a second of streams that each generate ``tokens`` side by side.

    Raises CommandError if the model has nothing to say.
    """
    # Prompts that are known already let all streams begin in the same step.
    await prefill(runner, options, texts)
    options = msgspec.structs.replace(options, num_predict=tokens)

    async def follow(text: str) -> tuple[float, float, int]:
        """Return when the first text came, when the end, and the number of tokens."""
        times: list[float] = []
        async with aclosing(runner.generate(RawPrompt(text), options)) as events:
            async for event in events:
                times.append(time.perf_counter())
                if isinstance(event, Done):
                    return times[0], times[-1], event.eval_count
        raise AssertionError("unreachable")

    begins, ends, counts = zip(*await asyncio.gather(*map(follow, texts)), strict=True)
    # The first token of each stream was there when the clock started.
    generated = sum(counts) - len(texts)
    if generated <= 0:
        raise CommandError("the model ends its answers too soon to measure its speed")
    return generated / (max(ends) - min(begins))


async def prefill(runner: Runner, options: Options, texts: list[str]) -> float:
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
