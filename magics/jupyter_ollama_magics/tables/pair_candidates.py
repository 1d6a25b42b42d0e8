"""The pairs of rows of two tables that are near each other: by meaning, and by their letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Protocol
from zlib import crc32

import numpy as np

BLOCK = 1024
"""Rows of each side whose similarities are computed at a time: 4 MiB of float32."""

LETTER_DIMENSIONS = 4096


class Side(Protocol):
    """The rows of a table as unit vectors, a block at a time."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def block(self, start: int) -> np.ndarray:
        """Return the vectors of the BLOCK rows from ``start`` on, (rows, dimensions)."""


class Vectors:
    """Unit vectors that are in memory, (rows, dimensions)."""

    def __init__(self, units: np.ndarray) -> None:
        self.units = units

    def __len__(self) -> int:
        return len(self.units)

    def block(self, start: int) -> np.ndarray:
        """Return the vectors of the BLOCK rows from ``start`` on."""
        return self.units[start : start + BLOCK]


class Letters:
    """Texts as vectors of their trigrams, hashed, with rare ones weighing more.

    ``weights`` come from ``trigram_weights`` and are the same for both sides.
    """

    def __init__(self, texts: Sequence[str], weights: np.ndarray) -> None:
        self._grams = [_trigrams(text) for text in texts]
        self._weights = weights

    def __len__(self) -> int:
        return len(self._grams)

    def block(self, start: int) -> np.ndarray:
        """Return the vectors of the BLOCK rows from ``start`` on."""
        grams = self._grams[start : start + BLOCK]
        units = np.zeros((len(grams), len(self._weights)), dtype=np.float32)
        for row, places in enumerate(grams):
            np.add.at(units[row], places, 1)
        units = np.sqrt(units) * self._weights
        lengths = np.linalg.norm(units, axis=1, keepdims=True)
        return np.asarray(units / np.maximum(lengths, np.finfo(np.float32).tiny))


def trigram_weights(*sides: Sequence[str]) -> np.ndarray:
    """Return the weight of each hashed trigram: the logarithm of its rareness in the texts."""
    counts = np.zeros(LETTER_DIMENSIONS)
    texts = [text for side in sides for text in side]
    for text in texts:
        counts[np.unique(_trigrams(text))] += 1
    return np.asarray(np.log((1 + len(texts)) / (1 + counts)) + 0.1, dtype=np.float32)


def nearest(queries: Side, base: Side, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ``k`` nearest rows of ``base`` of each query, best first, and the similarities.

    The search is exact. The shapes are (queries, least of k and rows of base).
    """
    k = min(k, len(base))
    found = np.empty((len(queries), k), dtype=np.int64)
    similarity = np.empty((len(queries), k), dtype=np.float32)
    for row in range(0, len(queries), BLOCK):
        block = queries.block(row)
        best = np.empty((len(block), 0), dtype=np.float32)
        places = np.empty((len(block), 0), dtype=np.int64)
        for start in range(0, len(base), BLOCK):
            scores = block @ base.block(start).T
            numbers = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
            scores, numbers = np.hstack([best, scores]), np.hstack([places, numbers])
            # Of equal similarities the first row wins, also across blocks.
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            best = np.take_along_axis(scores, order, axis=1)
            places = np.take_along_axis(numbers, order, axis=1)
        found[row : row + BLOCK], similarity[row : row + BLOCK] = places, best
    return found, similarity


def both_ways(left: Side, right: Side, k: int) -> np.ndarray:
    """Return the pairs in which one is among the ``k`` nearest of the other, as numbers.

    The number of a pair is left row times rows of ``right`` plus right row. They are sorted.
    """
    width = len(right)
    forth, _ = nearest(left, right, k)
    back, _ = nearest(right, left, k)
    pairs = np.concatenate(
        [
            (np.arange(len(left))[:, None] * width + forth).ravel(),
            (back * width + np.arange(width)[:, None]).ravel(),
        ]
    )
    return np.unique(pairs)


def similarities(left: Side, right: Side, pairs: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of each pair of ``both_ways``."""
    rows, places = np.divmod(pairs, max(len(right), 1))
    result = np.empty(len(pairs), dtype=np.float32)
    for row in range(0, len(left), BLOCK):
        block = left.block(row)
        for start in range(0, len(right), BLOCK):
            here = (rows // BLOCK == row // BLOCK) & (places // BLOCK == start // BLOCK)
            if here.any():
                other = right.block(start)
                chosen = block[rows[here] - row] * other[places[here] - start]
                result[here] = chosen.sum(axis=1)
    return result


def margins(left: Side, right: Side, pairs: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Return how much nearer each pair is than the best other pair of its left or right row."""
    rows, places = np.divmod(pairs, max(len(right), 1))
    forth, back = nearest(left, right, 2), nearest(right, left, 2)
    others = np.maximum(_best_other(*forth, rows, places), _best_other(*back, places, rows))
    return np.asarray(similarity - others)


def _best_other(
    found: np.ndarray, similarity: np.ndarray, rows: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Return the similarity of the nearest of each row that is not the given place."""
    if found.shape[1] < 2:
        return np.zeros(len(rows), dtype=np.float32)
    is_first = found[rows, 0] == places
    return np.asarray(np.where(is_first, similarity[rows, 1], similarity[rows, 0]))


def _trigrams(text: str) -> np.ndarray:
    """Return the hashes of the trigrams of a text without its case, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    kept = "".join(
        letter if letter.isalnum() else " " for letter in plain if not unicodedata.combining(letter)
    )
    words = f" {' '.join(kept.split())} "
    grams = [words[at : at + 3] for at in range(max(len(words) - 2, 1))]
    return np.array([crc32(gram.encode()) % LETTER_DIMENSIONS for gram in grams], dtype=np.int64)
