"""Rows that mean the same: which are kept, and which of these each row belongs to."""

from __future__ import annotations

import numpy as np

from .pair_candidates import BLOCK


def kept_rows(units: np.ndarray, threshold: float, order: np.ndarray) -> np.ndarray:
    """Return the rows that are kept, in their order.

    In ``order``, a row is kept unless its similarity to a kept row is at least ``threshold``. So
    no row goes because of a chain of others, and two kept rows are never that similar.
    """
    kept: list[int] = []
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        vectors = units[block]
        free = np.ones(len(block), dtype=bool)
        for known in range(0, len(kept), BLOCK):
            others = units[kept[known : known + BLOCK]]
            free &= (vectors @ others.T).max(axis=1) < threshold
        # Within the block, a row is only compared with the kept ones before it.
        inside = vectors @ vectors.T >= threshold
        for at in range(len(block)):
            if free[at]:
                kept.append(int(block[at]))
                free[at + 1 :] &= ~inside[at, at + 1 :]
    return np.array(kept, dtype=np.int64)


def groups(units: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return which of the ``kept`` rows each row is nearest to, as its place among them."""
    result = np.empty(len(units), dtype=np.int64)
    for start in range(0, len(units), BLOCK):
        result[start : start + BLOCK] = (units[start : start + BLOCK] @ units[kept].T).argmax(
            axis=1
        )
    result[kept] = np.arange(len(kept))
    return result
