"""The time to the first token under a long system prompt, right after a restart of the runner.

    .venv/bin/python benchmarks/prefix_restart.py [--model smollm2] [--tokens 4000] [--rounds 5]

A runner that keeps system prompts on the disk answers two questions under a new system prompt and
is ended. Then new runners answer a third question each: with the file ("kept"), and without a
folder ("read"). The time begins when the model is loaded. The page cache has the file, as it has
after a restart of the server, but not after one of the host: "cold" drops it before.

Expected before it was measured: at most 0.15 of the time to read 4,000 tokens of SmolLM2 on two
cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import prompts

from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.protocol import ChatPrompt, LoadSpec, PrefixSharing
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store
from jupyter_ollama.options import Options
from jupyter_ollama.prompt.messages import Message

OWNER = PrefixSharing(scope="owner")
QUESTION = "What should I read first?"


async def system_prompt(runner: RunnerClient, tokens: int, name: str) -> str:
    """Return a system prompt of about so many tokens."""
    text = f"You are the tutor of course {name}. "
    one = len((await runner.tokenize(prompts.RULES)).tokens)
    return text + prompts.RULES * max(1, round(tokens / one))


async def ask(runner: RunnerClient, system: str, question: str) -> tuple[float, Done]:
    """Return the seconds to the first token, and the end of an answer."""
    prompt = ChatPrompt([Message("system", system), Message("user", question)])
    start, first = time.perf_counter(), 0.0
    options = Options(temperature=0, num_predict=8)
    async for event in runner.generate(prompt, options, sharing=OWNER):
        if isinstance(event, Text):
            first = first or time.perf_counter() - start
        if isinstance(event, Done):
            return first, event
    raise RuntimeError("no answer")


def files(folder: Path) -> list[Path]:
    """Return the files of system prompts, the one used last at the end."""
    return sorted(folder.glob("*.prefix"), key=lambda file: file.stat().st_mtime)


def drop_from_page_cache(path: Path) -> None:
    """Have the next read of a file come from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def once(spec: Mapping[str, Any], system: str) -> tuple[float, Done]:
    """Return the first answer of a new runner."""
    runner = await RunnerClient.start(LoadSpec(**spec), load_timeout=120)
    try:
        return await ask(runner, system, QUESTION)
    finally:
        await runner.stop()


async def measure(model: Path, folder: Path, tokens: int, rounds: int) -> None:
    """Print a line for each round, and the medians."""
    plain = {"model": str(model), "num_ctx": tokens + 1024, "num_parallel": 1}
    keeping = plain | {"prefix_folder": str(folder), "prefix_bytes": 4 * 2**30}
    seconds: dict[str, list[float]] = {"read": [], "kept": [], "cold": []}
    for number in range(rounds):
        runner = await RunnerClient.start(LoadSpec(**keeping), load_timeout=120)
        try:
            system = await system_prompt(runner, tokens, str(number))
            for question in ("Hello.", "Who are you?"):
                await ask(runner, system, question)
            while len(files(folder)) <= number:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.1)
        finally:
            await runner.stop()
        newest = files(folder)[-1]
        ends = {}
        for way in ("read", "kept", "cold") if number % 2 else ("kept", "cold", "read"):
            if way == "cold":
                drop_from_page_cache(newest)
            first, ends[way] = await once(plain if way == "read" else keeping, system)
            seconds[way].append(first)
        assert ends["read"].cached == 0
        assert ends["kept"].cached == ends["cold"].cached > tokens // 2
        line = ", ".join(f"{way} {values[-1] * 1e3:.0f} ms" for way, values in seconds.items())
        count, size = ends["kept"].prompt_eval_count, newest.stat().st_size / 2**20
        print(f"round {number + 1}: {count} tokens, a file of {size:.0f} MiB: {line}", flush=True)
    for way in ("kept", "cold"):
        ratios = [a / b for a, b in zip(seconds[way], seconds["read"], strict=True)]
        middle = statistics.median(seconds[way]) * 1e3
        print(f"{way}: median {middle:.0f} ms, {statistics.median(ratios):.3f} of reading")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    home = str(Path.home() / ".ollama" / "models")
    parser.add_argument("--models", default=os.environ.get("OLLAMA_MODELS", home))
    arguments = parser.parse_args()
    model = Library(Store(Path(arguments.models))).find(arguments.model).model_path
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "prefixes")
        asyncio.run(measure(model, place, arguments.tokens, arguments.rounds))


if __name__ == "__main__":
    main()
