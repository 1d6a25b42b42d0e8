"""How long the description of a large table takes, and how many tokens it has.

    taskset -c 0 python benchmarks/context.py --rows 10000000

The tables are columns of numbers, times, categories, texts and objects of pandas and Polars, a wide
table, and one of objects. "first" is the first description in a process: pandas loads parts then.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from jupyter_ollama_magics.context.tokens import estimate
from jupyter_ollama_magics.context.variables import describe

ROUNDS = 9


def tables(rows: int) -> dict[str, Any]:
    """Return the tables by their names."""
    rng = np.random.default_rng(0)
    objects = np.full(rows, "x", object)
    objects[::3] = None
    mixed = pd.DataFrame({f"number_{n}": rng.random(rows) for n in range(6)})
    mixed["when"] = pd.date_range("2000", periods=rows, freq="s")
    mixed["object"] = pd.Series(objects, dtype=object)
    mixed["kind"] = pd.Categorical.from_codes(np.zeros(rows, int), ["a", "b"])
    mixed["text"] = pd.array(objects, dtype="str")
    return {
        "pandas": mixed,
        "polars": pl.from_pandas(mixed[["number_0", "when", "object"]]),
        "wide": pd.DataFrame(np.zeros((rows // 1000, 2000))),
        "objects": pd.DataFrame({f"o{n}": ["x"] * (rows // 100) for n in range(50)}, dtype=object),
    }


def main() -> None:
    """Print a line for each table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    for name, table in tables(parser.parse_args().rows).items():
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            text = describe(name, table)
            seconds.append(time.perf_counter() - began)
        rows, columns = table.shape
        print(
            f"{name}, {rows:,} x {columns:,}: first {1000 * seconds[0]:.0f} ms, then "
            f"{1000 * median(seconds[1:]):.0f} ms (median), {estimate(text)} tokens"
        )


if __name__ == "__main__":
    main()
