"""What drafts are worth: answers with them against answers without, in turns.

    python benchmarks/drafts.py [MODEL.gguf] [--rounds 5] [--seconds 600]

Without a file the model is smollm2 of the store (OLLAMA_MODELS). It runs with n-grams alone, and a
copy of it in F16 with the model itself as the draft model. Prints the ratio of the tokens a second,
for one stream and for eight and for several temperatures: median, least and most of the rounds.
More than 1 means that drafts pay.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from statistics import median

import prompts

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.protocol import LoadSpec, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.options import Options

TOKENS = 160
TEMPERATURES = (0.0, 0.8, 1.5)
STREAMS = (1, 8)
DRAFTS = 4
"""The default of ``draft_num_predict``."""


def main() -> None:
    """Measure both kinds of drafts and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=600, help="begin no round after them")
    arguments = parser.parse_args()
    model = arguments.model or OllamaServer().library.find("smollm2").model_path
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder, "f16.gguf")
        command = [sys.executable, "-m", "jupyter_ollama.engine.quantize", model, large, "F16"]
        subprocess.run(command, check=True, capture_output=True)
        specs = {
            "n-grams": LoadSpec(model=str(model), num_ctx=2048),
            "a draft model": LoadSpec(model=str(large), draft=str(model), num_ctx=2048),
        }
        print("| drafts by | streams | temperature | with against without | rounds |")
        print("|---|---:|---:|---:|---:|", flush=True)
        for kind, spec in specs.items():
            asyncio.run(measure(kind, spec, arguments.rounds, arguments.seconds / len(specs)))


async def measure(kind: str, spec: LoadSpec, rounds: int, seconds: float) -> None:
    """Print the lines of one kind of drafts."""
    runner = await RunnerClient.start(spec, 600)
    end = time.monotonic() + seconds
    ratios: dict[tuple[int, float], list[float]] = {}
    try:
        # What pays is measured while the model runs.
        await speed(runner, "warm", 8, 0.0, DRAFTS)
        for turn in range(rounds):
            for count, temperature in product(STREAMS, TEMPERATURES):
                if time.monotonic() > end:
                    break
                tag = f"{turn}.{count}.{temperature}"
                ways = [DRAFTS, 0] if turn % 2 else [0, DRAFTS]
                found = {n: await speed(runner, tag, count, temperature, n) for n in ways}
                ratios.setdefault((count, temperature), []).append(found[DRAFTS] / found[0])
    finally:
        await runner.stop()
    for (count, temperature), found_ratios in ratios.items():
        spread = f"{min(found_ratios):.2f} to {max(found_ratios):.2f}"
        middle = f"{median(found_ratios):.2f} ({spread})"
        print(f"| {kind} | {count} | {temperature} | {middle} | {len(found_ratios)} |", flush=True)


async def speed(
    runner: RunnerClient, tag: str, count: int, temperature: float, drafts: int
) -> float:
    """Return the tokens a second of so many streams, all together."""
    options = Options(
        temperature=temperature, num_predict=TOKENS, draft_num_predict=drafts, seed=7, num_ctx=2048
    )

    async def answer(text: str) -> int:
        async for event in runner.generate(RawPrompt(text), options):
            if isinstance(event, Done):
                return event.eval_count
        raise AssertionError("no Done")

    start = time.perf_counter()
    tokens = await asyncio.gather(*(answer(text) for text in prompts.stories(tag, count)))
    return sum(tokens) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
