"""The texts that fit a query best: by vectors, or by the fused ranks of vectors and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .fusion import fused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .loaded import Loaded

DEPTH = 100
"""The texts of each ranking that are fused."""


@dataclass
class Hit:
    """A text, its best chunk and its scores."""

    text: int
    chunk: int
    similarity: float
    score: float
    bm25: float | None = None
    rerank: float | None = None


@dataclass(frozen=True)
class Query:
    """A query and its unit vector, and the rows to search: all if ``positions`` is None."""

    text: str
    vector: NDArray[np.float32]
    positions: NDArray[np.int64] | None = None
    exact: bool = False


def by_meaning(loaded: Loaded, query: Query, count: int) -> list[Hit]:
    """Return the ``count`` texts with the nearest chunks, best first."""
    allowed = None if query.positions is None else loaded.allowed(query.positions)
    total = len(loaded.texts)
    wanted = min(2 * count, total)
    while True:
        places, values = loaded.vectors.nearest(query.vector, wanted, allowed, query.exact)
        texts, first = np.unique(loaded.texts[places], return_index=True)
        # A long text may have many of the nearest chunks.
        if len(texts) >= count or len(places) < wanted or wanted == total:
            break
        wanted = min(4 * wanted, total)
    best = np.sort(first)[:count]
    return [
        Hit(int(loaded.texts[place]), int(place), float(value), float(value))
        for place, value in zip(places[best], values[best], strict=True)
    ]


def by_both(loaded: Loaded, query: Query, count: int) -> list[Hit]:
    """Return the ``count`` texts of the best fused ranks of vectors and words, best first."""
    near = {hit.text: hit for hit in by_meaning(loaded, query, max(count, DEPTH))}
    scores = loaded.words.scores(query.text)
    chosen = scores.copy()
    if query.positions is not None:
        chosen[~loaded.allowed(query.positions)] = 0
    order = np.argsort(-chosen, kind="stable")[: 4 * max(count, DEPTH)]
    worded: dict[int, int] = {}
    for chunk in order[chosen[order] > 0].tolist():
        worded.setdefault(int(loaded.texts[chunk]), chunk)
    wordy = list(worded)[: max(count, DEPTH)]
    result = []
    for text, score in list(fused([list(near), wordy]).items())[:count]:
        hit = near.get(text)
        if hit is None:
            chunk = worded[text]
            similarity = float(loaded.vectors.array[chunk] @ query.vector)
            hit = Hit(text, chunk, similarity, score)
        hit.score, hit.bm25 = score, float(scores[worded.get(text, hit.chunk)])
        result.append(hit)
    return result
