"""The threshold of a cascade: the least probability of answers of the small model that are used.

Bates et al., "Distribution-free, risk-controlling prediction sets" (2021): disagreement can only
grow as the threshold falls, so a confidence bound for each threshold holds for the lowest one that
still meets it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ERROR = 0.05
"""The probability that the true agreement is below the bound."""

SAMPLES = 3
"""The largest sample, as a multiple of the least one."""

SHARE = 5
"""The sample is one of so many rows, within the limits."""


@dataclass(frozen=True)
class Threshold:
    """A threshold, the agreement of a sample at it, and the lower bound of the agreement of all.

    ``value`` is infinite if no answer of the small model is used.
    """

    value: float
    agreement: float
    at_least: float


def least_sample(agree: float) -> int:
    """Return the size of the least sample whose bound reaches ``agree`` if all its rows agree."""
    return math.ceil(math.log(ERROR) / math.log(agree))


def sample(texts: Sequence[str], agree: float) -> list[str]:
    """Return the texts that both models answer, all of them if there are too few to learn from.

    The choice is random and the same for the same texts, so that an interrupted call continues.
    """
    least = least_sample(agree)
    size = min(max(least, len(texts) // SHARE), SAMPLES * least)
    if size >= len(texts):
        return list(texts)
    return sorted(texts, key=_order)[:size]


def learn(rows: Iterable[tuple[float, bool]], agree: float) -> Threshold:
    """Return the lowest threshold at which the lower bound of the agreement is at least ``agree``.

    ``rows`` are those of the sample: the probability that the small model gives to its answer,
    negative if it has none, and whether the large model's is the same. Rows below the threshold are
    sent on, and so agree.
    """
    ordered = sorted(rows, key=lambda row: -row[0])
    size = len(ordered)
    best = Threshold(math.inf, 1.0, 1.0)
    differ = 0
    for place, (probability, same) in enumerate(ordered):
        if probability < 0:
            break
        differ += not same
        if place + 1 < size and ordered[place + 1][0] == probability:
            continue  # equal probabilities are on the same side of a threshold
        bound = lower_bound(differ, size)
        if bound < agree:
            break
        best = Threshold(probability, 1 - differ / size, bound)
    return best


def lower_bound(differ: int, size: int) -> float:
    """Return the lower bound of the agreement when ``differ`` of ``size`` rows differ.

    It is the exact one-sided bound of Clopper and Pearson (1934).
    """
    low, high = 0.0, 1.0
    for _ in range(50):
        rate = (low + high) / 2
        if _at_most(differ, size, rate) > ERROR:
            low = rate
        else:
            high = rate
    return 1 - high


def _at_most(successes: int, size: int, rate: float) -> float:
    """Return the probability of at most so many successes of a binomial distribution."""
    return sum(
        math.comb(size, k) * rate**k * (1 - rate) ** (size - k) for k in range(successes + 1)
    )


def _order(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
