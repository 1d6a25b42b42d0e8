"""How many true pairs a join misses, estimated by asking about some that are no candidates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

NEAR = 3
"""A pair is near if it were a candidate with so many times the k of the join."""

SIDED_95 = 1.645
"""The quantile of the normal distribution that 95 % are below."""


@dataclass(frozen=True)
class Sample:
    """Pairs that are no candidates: some of the near ones, and some of all others.

    ``sizes`` are the numbers of pairs that the two samples were drawn from.
    """

    near: np.ndarray
    rest: np.ndarray
    sizes: tuple[int, int]

    @property
    def pairs(self) -> np.ndarray:
        """All pairs of the sample."""
        return np.concatenate([self.near, self.rest])

    def recall(self, matched: int, true: np.ndarray) -> dict[str, float | None]:
        """Return the estimated recall of ``matched`` pairs, and a lower bound at 95 %.

        ``true`` says which ``pairs`` of the sample are matches. The recall is None if neither the
        join nor the sample has a match.
        """
        missed = worst = 0.0
        ends = [0, len(self.near), len(true)]
        for at, size in enumerate(self.sizes):
            part = true[ends[at] : ends[at + 1]]
            if len(part):
                missed += size * float(part.mean())
                bound = 0.0 if len(part) == size else _upper(int(part.sum()), len(part))
                worst += max(size * bound, float(part.sum()))
        if not matched + missed:
            return {"recall": None, "recall_low": None}
        return {
            "recall": matched / (matched + missed),
            "recall_low": matched / (matched + worst) if matched else 0.0,
        }


def draw(candidates: np.ndarray, near: np.ndarray, pairs: int, number: int, seed: int) -> Sample:
    """Draw half of ``number`` pairs from ``near`` and half from the rest of ``pairs``.

    ``candidates`` and ``near`` are sorted numbers of pairs; candidates are drawn from neither.
    """
    made = np.random.default_rng(seed)
    near = np.setdiff1d(near, candidates, assume_unique=True)
    known = np.union1d(candidates, near)
    rest = pairs - len(known)
    some = made.choice(near, min(number // 2, len(near)), replace=False)
    wanted = min(number - len(some), rest)
    # The n-th pair outside of the known ones: n, and one more for each known pair up to it.
    numbers = np.sort(made.choice(rest, wanted, replace=False)) if wanted else np.empty(0, int)
    others = numbers + np.searchsorted(known - np.arange(len(known)), numbers, side="right")
    return Sample(np.sort(some), others, (len(near), rest))


def _upper(found: int, number: int) -> float:
    """Return the upper bound of Wilson's interval for a share: 95 % of shares are below."""
    share, squared = found / number, SIDED_95**2 / number
    spread = math.sqrt(share * (1 - share) / number + squared / (4 * number))
    return (share + squared / 2 + SIDED_95 * spread) / (1 + squared)
