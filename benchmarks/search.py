"""How long a search of many vectors takes, and how many of the best rows it finds.

    taskset -c 0,1 python benchmarks/search.py --rows 1000000

Compares the search of an index (codes of one bit, exact values of the candidates) with an exact
product of float32, on random directions and on clusters with a common mean, as embeddings have.
`taskset -c 0,1` gives it two cores. "processor" is the time of both: half of it is the least that a
query takes on an idle machine. 1,000,000 vectors of 384 dimensions take 2 GB of memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
from jupyter_ollama_magics.search.vectors import Vectors

BLOCK = 50_000
Array = np.ndarray[Any, np.dtype[np.float32]]


def uniform(rows: int, size: int, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return unit vectors of all directions alike, and queries."""
    vectors = np.empty((rows, size), np.float32)
    for start in range(0, rows, BLOCK):
        part = vectors[start : start + BLOCK]
        rng.standard_normal(part.shape, np.float32, out=part)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    queries = rng.standard_normal((count, size), np.float32)
    return vectors, queries / np.linalg.norm(queries, axis=1, keepdims=True)


def clustered(rows: int, size: int, count: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return unit vectors with a common mean, in clusters of 200, and queries near some of them."""
    scale = (np.arange(1, size + 1) ** -0.4).astype(np.float32)
    mean = rng.standard_normal(size, np.float32)
    centers = rng.standard_normal((max(rows // 200, 1), size), np.float32) + mean
    vectors = np.empty((rows, size), np.float32)
    for start in range(0, rows, BLOCK):
        part = vectors[start : start + BLOCK]
        rng.standard_normal(part.shape, np.float32, out=part)
        part *= 0.6
        part += centers[rng.integers(len(centers), size=len(part))]
        part *= scale
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    noise = 0.3 * rng.standard_normal((count, size), np.float32) * scale
    queries = vectors[rng.integers(rows, size=count)] * np.float32(5) + noise
    return vectors, queries / np.linalg.norm(queries, axis=1, keepdims=True)


def measure(data: str, vectors: Array, queries: Array, k: int) -> Iterator[str]:
    """Yield the cells of a row of the table."""
    search = Vectors(vectors, codes_from=0)
    began = time.perf_counter()
    search.nearest(queries[0], k)
    first = time.perf_counter() - began
    times, busy, exact_times, found, sent = [], [], [], 0, []
    for query in queries:
        began, worked = time.perf_counter(), time.process_time()
        places, _ = search.nearest(query, k)
        times.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
        began = time.perf_counter()
        expected, _ = search.nearest(query, k, exact=True)
        exact_times.append(time.perf_counter() - began)
        found += len(set(places.tolist()) & set(expected.tolist()))
        chosen = search._candidates(query, k, None)
        sent.append(len(vectors) if chosen is None else len(chosen))
    yield data
    yield f"{median(times) * 1e3:.0f} ms"
    yield f"{sorted(times)[int(len(times) * 0.95)] * 1e3:.0f} ms"
    yield f"{median(busy) * 1e3:.0f} ms"
    yield f"{median(exact_times) * 1e3:.0f} ms"
    yield f"{found / (k * len(queries)):.4f}"
    yield f"{median(sent):,.0f}"
    yield f"{first:.1f} s"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(f"{args.rows:,} x {args.size} float32, {args.queries} queries, k = {args.k}\n")
    heads = (
        "vectors",
        "p50",
        "p95",
        "processor",
        "exact p50",
        "recall",
        "exact values",
        "first query",
    )
    print(f"| {' | '.join(heads)} |")
    print(f"|{'---|' * len(heads)}")
    for make in (uniform, clustered):
        rng = np.random.default_rng(args.seed)
        vectors, queries = make(args.rows, args.size, args.queries, rng)
        print(f"| {' | '.join(measure(make.__name__, vectors, queries, args.k))} |", flush=True)
        del vectors


if __name__ == "__main__":
    main()
