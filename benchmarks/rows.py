"""Models over the rows of a DataFrame: the accessor beside plain loops and the engine alone.

    python benchmarks/rows.py [--rows 200] [--texts 2000] [--rounds 3]

Prints a table in Markdown: rows a second, the median of the rounds, and the median of the ratios
within a round, with the least and the most. They take turns, and every round has rows of its own,
so that no cache knows them.

- classify: SmolLM2 chooses one of three labels for each row by their probabilities, in the loop by
  ``chat`` with the same messages and a schema.
- embed: all-minilm's vectors in a DataFrame, in the loop by ``embed`` on batches of 32.
- The loops go through ollama-python to the server that the accessor asks. The engine alone has no
  server, no HTTP and no DataFrame: a runner is given the same prompts, 16 at a time, or the same
  batches of texts.

Expected before it was measured: at least 1.3 and 1.2 times the loop on two cores, and 0.93 of the
engine alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import jupyter_ollama_magics.accessor  # noqa: F401 - adds .ollama
import ollama
import pandas as pd
from embeddings import WORDS
from jupyter_ollama_magics.embed import batches
from jupyter_ollama_magics.operators.checks import GREEDY
from jupyter_ollama_magics.operators.label_chat import CLASSIFY
from library import serving

from jupyter_ollama.engine.protocol import ChatPrompt, LoadSpec
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.library.library import Library
from jupyter_ollama.prompt.messages import Message

LABELS = ["delivery", "quality", "price"]
BATCH = 32
CHAT, EMBED = "smollm2", "all-minilm"
PARALLEL = 16
CONTEXT = 4096
"""Tokens that a prompt may have."""

LENGTH = 256
"""Tokens that all-minilm reads of a text."""

Way = Callable[[pd.Series], object]


def main() -> None:
    """Serve the two models, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200, help="rows to classify")
    parser.add_argument("--texts", type=int, default=2000, help="texts to embed")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
        import starter_models

        library = Library.open(Path(folder, "models"))
        for name in (CHAT, EMBED):
            starter_models.register(name, library)
        with serving(library.store.root) as url, engines(library) as engine:
            os.environ["JUPYTER_OLLAMA_URL"] = url
            client = ollama.Client(url)
            print("| rows | accessor | plain loop | engine alone | of the loop | of the engine |")
            print("|---|---|---|---|---|---|")
            compare(
                f"classify {arguments.rows}",
                arguments.rows,
                arguments.rounds,
                lambda rows: rows.ollama.classify(LABELS, model=CHAT),
                lambda rows: classify_in_a_loop(client, rows),
                engine[CHAT],
            )
            compare(
                f"embed {arguments.texts}",
                arguments.texts,
                arguments.rounds,
                lambda rows: rows.ollama.embed(model=EMBED, expand=True),
                lambda rows: embed_in_a_loop(client, rows),
                engine[EMBED],
            )


def compare(name: str, count: int, rounds: int, *ways: Way) -> None:
    """Time the accessor and the others, in turns, and print a line."""
    for way in ways:
        way(texts(4, seed=-1))  # the model is loaded
    seconds: list[list[float]] = [[] for _ in ways]
    for turn in range(rounds):
        for place in range(len(ways)):
            which = (turn + place) % len(ways)
            rows = texts(count, seed=turn * len(ways) + place)
            began = time.perf_counter()
            ways[which](rows)
            seconds[which].append(time.perf_counter() - began)
    speeds = [f"{count / median(values):.1f}" for values in seconds]
    ratios = [[b / a for a, b in zip(seconds[0], other, strict=True)] for other in seconds[1:]]
    spreads = [f"{median(one):.2f} ({min(one):.2f} to {max(one):.2f})" for one in ratios]
    print(f"| {' | '.join([name, *speeds, *spreads])} |", flush=True)


def texts(count: int, seed: int) -> pd.Series:
    """Return texts of 10 to 30 words, different ones for each seed."""
    chance = random.Random(seed)
    words = WORDS.split()
    return pd.Series(
        [" ".join(chance.choices(words, k=chance.randint(10, 30))) for _ in range(count)]
    )


def classify_in_a_loop(client: ollama.Client, rows: pd.Series) -> pd.Series:
    """Ask about one row after the other."""
    system = {"role": "system", "content": CLASSIFY + ", ".join(LABELS)}
    schema = {"type": "string", "enum": LABELS}
    answers = [
        client.chat(
            CHAT, [system, {"role": "user", "content": text}], format=schema, options=GREEDY
        )
        for text in rows
    ]
    return pd.Series([answer.message.content for answer in answers])


def embed_in_a_loop(client: ollama.Client, rows: pd.Series) -> pd.DataFrame:
    """Embed batches and put the vectors into a DataFrame."""
    vectors: list[list[float]] = []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH].tolist()
        vectors += [list(row) for row in client.embed(EMBED, batch).embeddings]
    return pd.DataFrame(vectors, dtype="float32")


@contextmanager
def engines(library: Library) -> Iterator[dict[str, Way]]:
    """Start a runner for each model; yield functions that send rows to them."""
    with asyncio.Runner() as loop:
        specs = {
            CHAT: LoadSpec(str(library.find(CHAT).model_path), num_parallel=PARALLEL),
            EMBED: LoadSpec(str(library.find(EMBED).model_path), num_ctx=LENGTH),
        }
        runners = {
            name: loop.run(RunnerClient.start(spec, load_timeout=60))
            for name, spec in specs.items()
        }
        try:
            yield {
                CHAT: lambda rows: loop.run(classify_in_the_engine(runners[CHAT], rows)),
                EMBED: lambda rows: loop.run(embed_in_the_engine(runners[EMBED], rows)),
            }
        finally:
            for runner in runners.values():
                loop.run(runner.stop())


async def classify_in_the_engine(runner: RunnerClient, rows: pd.Series) -> None:
    """Let a runner score the labels for all rows, as many at a time as it runs."""
    system = Message("system", CLASSIFY + ", ".join(LABELS))
    free = asyncio.Semaphore(PARALLEL)

    async def ask(text: str) -> None:
        prompt = ChatPrompt([system, Message("user", text)])
        async with free:
            await runner.score(prompt, LABELS, CONTEXT)

    await asyncio.gather(*map(ask, rows))


async def embed_in_the_engine(runner: RunnerClient, rows: pd.Series) -> None:
    """Give a runner the batches that the accessor makes."""
    await asyncio.gather(*(runner.embed(batch, LENGTH) for batch in batches(rows.tolist())))


if __name__ == "__main__":
    main()
