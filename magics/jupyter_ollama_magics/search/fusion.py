"""Ranks of several searches as one (reciprocal rank fusion, Cormack and others 2009)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")

DAMPING = 60
"""The constant of the paper: the lead of the first ranks over later ones."""


def fused(rankings: Iterable[Sequence[T]]) -> dict[T, float]:
    """Return the score of each item, the highest first.

    An item gets 1 / (60 + rank) from each ranking that has it. Equal scores keep the order of the
    rankings.

    Examples
    --------
    >>> list(fused([["a", "b", "c"], ["b", "d"]]))
    ['b', 'a', 'd', 'c']
    """
    scores: dict[T, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0.0) + 1 / (DAMPING + rank)
    return dict(sorted(scores.items(), key=lambda item: -item[1]))
