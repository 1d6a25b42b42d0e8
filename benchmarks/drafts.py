"""What a draft model is worth: answers with it against answers with n-grams alone, in turns.

    python benchmarks/drafts.py [MODEL.gguf] [--rounds 5] [--seconds 600]

Without a file the model is smollm2 of the store (OLLAMA_MODELS). It drafts for a copy of itself in
F16. Prints the ratio of the tokens a second, for one stream and for eight and for several
temperatures: median, least and most of the rounds. More than 1 means that the draft model pays.
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
DRAFTS = Options().draft_num_predict


def main() -> None:
    """Make the model in F16, measure, print a table."""
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
        spec = LoadSpec(model=str(large), draft=str(model), num_ctx=2048)
        asyncio.run(measure(spec, arguments.rounds, arguments.seconds))


async def measure(spec: LoadSpec, rounds: int, seconds: float) -> None:
    """Print the table."""
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
                # Each way has prompts of its own, which no cache has.
                found = {n: await speed(runner, f"{tag}.{n}", count, temperature, n) for n in ways}
                ratios.setdefault((count, temperature), []).append(found[DRAFTS] / found[0])
    finally:
        await runner.stop()
    print("| streams | temperature | with against without | rounds |")
    print("|---:|---:|---:|---:|")
    for (count, temperature), found_ratios in ratios.items():
        spread = f"{min(found_ratios):.2f} to {max(found_ratios):.2f}"
        middle = f"{median(found_ratios):.2f} ({spread})"
        print(f"| {count} | {temperature} | {middle} | {len(found_ratios)} |")


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
