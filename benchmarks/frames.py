"""Polars and DuckDB beside pandas: the same rows, the same server, rows a second.

    python benchmarks/frames.py [--rows 200] [--texts 4000] [--rounds 5]

Prints a table in Markdown: rows a second, the median of the rounds, the median of the ratios to
pandas within a round, with the least and the most, and the median of the processor time of the
client for each row, which other processes on the machine disturb less. The ways take turns. Every
way gets the texts of the round with their words in an order of its own, so they have the same
length and no cache knows them.

- classify: SmolLM2 chooses one of three labels for each row.
- embed: all-minilm's vectors, in the type of the library: Array(Float32, 384) and FLOAT[384]. With
  more than 2,048 rows DuckDB makes several calls.

Expected before it was measured: at least 0.97 of pandas for Polars and 0.95 for DuckDB.
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

import duckdb
import jupyter_ollama_magics.accessor
import jupyter_ollama_magics.polars_frame  # noqa: F401
import pandas as pd
import polars as pl
from jupyter_ollama_magics import duckdb_functions
from library import serving
from rows import CHAT, EMBED, LABELS, texts

from jupyter_ollama.library.library import Library

Way = Callable[[list[str]], object]


def main() -> None:
    """Serve the two models, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200, help="rows to classify")
    parser.add_argument("--texts", type=int, default=4000, help="texts to embed")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
        import starter_models

        library = Library.open(Path(folder, "models"))
        for name in (CHAT, EMBED):
            starter_models.register(name, library)
        with serving(library.store.root) as url:
            os.environ["JUPYTER_OLLAMA_URL"] = url
            duckdb_functions(connection, model=CHAT, embed_model=EMBED, dimensions=384)
            print("| rows | way | rows/s | of pandas | client, ms/row |\n|---|---|---|---|---|")
            compare(
                f"classify {arguments.rows}", arguments.rows, arguments.rounds, labels(connection)
            )
            compare(
                f"embed {arguments.texts}", arguments.texts, arguments.rounds, vectors(connection)
            )


def labels(connection: duckdb.DuckDBPyConnection) -> dict[str, Way]:
    """Return the ways to classify texts."""
    query = f"SELECT ollama_classify(text, {LABELS}) AS label FROM data"
    label = pl.col("text").ollama.classify(LABELS, model=CHAT)
    return {
        "pandas": lambda rows: pd.Series(rows).ollama.classify(LABELS, model=CHAT),
        "Polars": lambda rows: pl.Series(rows).ollama.classify(LABELS, model=CHAT),
        "Polars, lazy": lambda rows: pl.LazyFrame({"text": rows}).select(label).collect(),
        "DuckDB": lambda rows: selected(connection, query, rows),
    }


def vectors(connection: duckdb.DuckDBPyConnection) -> dict[str, Way]:
    """Return the ways to embed texts."""
    vector = pl.col("text").ollama.embed(model=EMBED)
    query = "SELECT ollama_embed(text) AS vector FROM data"
    return {
        "pandas": lambda rows: pd.Series(rows).ollama.embed(model=EMBED),
        "Polars": lambda rows: pl.Series(rows).ollama.embed(model=EMBED),
        "Polars, lazy": lambda rows: pl.LazyFrame({"text": rows}).select(vector).collect(),
        "DuckDB": lambda rows: selected(connection, query, rows),
    }


def selected(connection: duckdb.DuckDBPyConnection, query: str, rows: list[str]) -> object:
    """Return the result of a query on a table of texts."""
    connection.register("data", pl.DataFrame({"text": rows}).to_arrow())
    return connection.sql(query).to_arrow_table()


def compare(name: str, count: int, rounds: int, ways: dict[str, Way]) -> None:
    """Time the ways, in turns, and print a line for each."""
    for way in ways.values():
        way(texts(4, seed=-1).tolist())  # the model is loaded
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    client: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds):
        order = [*ways][turn % len(ways) :] + [*ways][: turn % len(ways)]
        for place, way in enumerate(order):
            rows = shuffled(texts(count, seed=turn).tolist(), seed=place)
            began, used = time.perf_counter(), time.process_time()
            ways[way](rows)
            seconds[way].append(time.perf_counter() - began)
            client[way].append(time.process_time() - used)
    for way, some in seconds.items():
        ratios = [base / own for base, own in zip(seconds["pandas"], some, strict=True)]
        spread = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        speed, cost = count / median(some), 1000 * median(client[way]) / count
        print(f"| {name} | {way} | {speed:.1f} | {spread} | {cost:.2f} |", flush=True)


def shuffled(rows: list[str], seed: int) -> list[str]:
    """Return texts with their words in another order."""
    chance = random.Random(seed)
    split = [row.split() for row in rows]
    return [" ".join(chance.sample(words, len(words))) for words in split]


if __name__ == "__main__":
    main()
