"""Models over the rows of a DataFrame: the accessor beside plain loops over ollama-python.

    python benchmarks/rows.py [--rows 200] [--texts 2000] [--rounds 3]

Prints a table in Markdown: rows a second, the median of the rounds, and the median of the ratios
within a round, with the least and the most. Both ask the same server; they take turns, and every
round has rows of its own, so that no cache knows them.

- classify: SmolLM2 chooses one of three labels for each row, in the loop by ``chat`` with the same
  messages and the same schema.
- embed: all-minilm's vectors in a DataFrame, in the loop by ``embed`` on batches of 32.

Expected before it was measured: at least 1.3 and 1.2 times on two cores.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import jupyter_ollama_magics.accessor  # noqa: F401 - adds .ollama
import ollama
import pandas as pd
from embeddings import WORDS
from jupyter_ollama_magics.questions import CLASSIFY, GREEDY
from library import serving

from jupyter_ollama.library.model import Library

LABELS = ["delivery", "quality", "price"]
BATCH = 32
CHAT, EMBED = "smollm2", "all-minilm"


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
        with serving(library.store.root) as url:
            os.environ["JUPYTER_OLLAMA_URL"] = url
            client = ollama.Client(url)
            print("| rows | accessor, rows/s | plain loop, rows/s | times |\n|---|---|---|---|")
            compare(
                f"classify {arguments.rows}",
                arguments.rows,
                arguments.rounds,
                lambda rows: rows.ollama.classify(LABELS, model=CHAT),
                lambda rows: classify_in_a_loop(client, rows),
            )
            compare(
                f"embed {arguments.texts}",
                arguments.texts,
                arguments.rounds,
                lambda rows: rows.ollama.embed(model=EMBED, expand=True),
                lambda rows: embed_in_a_loop(client, rows),
            )


def compare(
    name: str,
    count: int,
    rounds: int,
    ours: Callable[[pd.Series], object],
    loop: Callable[[pd.Series], object],
) -> None:
    """Time both, in turns, and print a line."""
    for way in (ours, loop):
        way(texts(4, seed=-1))  # the model is loaded
    seconds: dict[str, list[float]] = {"ours": [], "loop": []}
    for turn in range(rounds):
        contenders = [("ours", ours, 2 * turn), ("loop", loop, 2 * turn + 1)]
        for who, way, seed in contenders if turn % 2 else reversed(contenders):
            rows = texts(count, seed)
            began = time.perf_counter()
            way(rows)
            seconds[who].append(time.perf_counter() - began)
    ratios = [theirs / mine for mine, theirs in zip(*seconds.values(), strict=True)]
    speeds = [f"{count / median(values):.1f}" for values in seconds.values()]
    spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"| {name} | {' | '.join(speeds)} | {spread} |", flush=True)


def texts(count: int, seed: int) -> pd.Series:
    """Return texts of 10 to 30 words, others for each seed."""
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


if __name__ == "__main__":
    main()
