"""How long a stream pauses while the first constrained request reads a model's vocabulary.

    python benchmarks/first_constraint.py [--model gemma3] [--rounds 3]

Prints a table in Markdown. A new runner in every round answers a long stream. In its middle
comes a request with a JSON schema, the first of that runner, and once it is answered a
second one with another schema. The gap is the longest time between two tokens of the stream from
the request to its answer, beside the longest one before.

Expected before it was measured: no gap above 250 ms, on two cores and with 262,144 words.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from jupyter_ollama.engine.events import Text
from jupyter_ollama.engine.protocol import Constraint, LoadSpec, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.library.library import Library
from jupyter_ollama.options import Options

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))

import starter_models

PROMPT = RawPrompt("Once upon a time")
WARM = 40
"""Tokens of the stream before each constrained request."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="gemma3")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = Library.open(Path(folder, "models"))
        starter_models.register(arguments.model, library)
        path = library.find(arguments.model).model_path
        print("| request | answered after, ms | longest gap, ms | longest gap before, ms |")
        print("|---|---|---|---|")
        for _ in range(arguments.rounds):
            for line in asyncio.run(measure(path)):
                print(line, flush=True)


async def measure(path: Path) -> list[str]:
    """Return the lines of one round."""
    spec = LoadSpec(str(path), num_ctx=4096, num_parallel=2)
    runner = await RunnerClient.start(spec, load_timeout=60)
    arrivals: asyncio.Queue[float] = asyncio.Queue()
    stream = asyncio.create_task(listen(runner, arrivals))
    try:
        lines = []
        for name, label in (("first", "a"), ("second", "b")):
            before = [await arrivals.get() for _ in range(WARM)]
            began = time.perf_counter()
            await answer(runner, Constraint("schema", json.dumps({"enum": [label, label * 2]})))
            took = (time.perf_counter() - began) * 1e3
            during = [before[-1], *(arrivals.get_nowait() for _ in range(arrivals.qsize()))]
            gaps = f"{longest_gap(during):.0f} | {longest_gap(before):.0f}"
            lines.append(f"| {name} | {took:.0f} | {gaps} |")
        return lines
    finally:
        stream.cancel()
        await runner.stop()


async def listen(runner: RunnerClient, arrivals: asyncio.Queue[float]) -> None:
    """Record the time of each token of a stream that does not end by itself."""
    ends = {0: -100.0, 1: -100.0, 2: -100.0, 106: -100.0}
    options = Options(temperature=1, seed=1, num_predict=4000, logit_bias=ends)
    async for event in runner.generate(PROMPT, options):
        if isinstance(event, Text):
            arrivals.put_nowait(time.perf_counter())


async def answer(runner: RunnerClient, constraint: Constraint) -> None:
    """Ask for a constrained answer."""
    async for _ in runner.generate(PROMPT, Options(temperature=0), constraint=constraint):
        pass


def longest_gap(moments: list[float]) -> float:
    """Return the longest time between two moments in ms."""
    return 1e3 * max((b - a for a, b in pairwise(moments)), default=0.0)


if __name__ == "__main__":
    main()
