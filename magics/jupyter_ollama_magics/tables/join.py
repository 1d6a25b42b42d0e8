"""``join``: the pairs of rows for which a statement is true, found with few questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..failures import OllamaMagicsError
from ..rows.plan import Plan
from . import pair_candidates, pair_learning, pair_recall
from .pair_candidates import Side
from .steps import Steps

FEATURES = ("model", "meaning", "letters", "meaning margin", "letters margin")
"""What probabilities are learned from."""

LEAST_KNOWN = 3
"""The fewest known pairs of each answer that probabilities are learned from."""


@dataclass
class Join:
    """A join of rows that have a value. Pairs are numbers: left row times right rows plus right.

    Parameters
    ----------
    views : list of pairs of Side
        The left and the right rows, by meaning and by letters.
    ask : callable
        Returns the Plan that gives the probability of each pair, from the pairs.
    k : int
        How many of the nearest rows of each row, in each view, are candidates.
    threshold : float
        The least probability of a match.
    known : dict of int to bool
        Pairs whose answer is known.
    """

    views: list[tuple[Side, Side]]
    ask: Callable[[np.ndarray], Plan]
    k: int
    threshold: float
    known: Mapping[int, bool]

    def run(self, recall_sample: int, seed: int) -> Steps[tuple[np.ndarray, np.ndarray, Any]]:
        """Return the matches, the probability and similarity of each, (matches, 2), and the report.

        ``recall_sample`` other pairs are asked, too, to estimate the recall.
        """
        left, right = self.views[0]
        number = len(left) * len(right)
        candidates = self._near(self.k)
        known = np.array(sorted(self.known), dtype=np.int64)
        candidates = np.union1d(candidates, known)
        pairs = candidates
        sample = None
        if recall_sample:
            near = self._near(pair_recall.NEAR * self.k)
            sample = pair_recall.draw(candidates, near, number, recall_sample, seed)
            pairs = np.union1d(pairs, sample.pairs)
        asked = yield self.ask(pairs)
        given = asked.to_numpy(float)
        similarity = self._similarity(pairs)
        report: dict[str, Any] = {
            "pairs": number,
            "asked": len(pairs),
            "share": len(pairs) / number,
            "failed": int(np.isnan(given).sum()),
            "k": self.k,
        }
        probability = given
        if self.known:
            probability, learned = self._learned(pairs, given, similarity, known)
            report |= learned
        chosen = probability >= self.threshold
        is_candidate = np.isin(pairs, candidates)
        found = chosen & is_candidate
        report["matched"] = int(found.sum())
        if sample is not None:
            true = chosen[np.searchsorted(pairs, sample.pairs)]
            report |= sample.recall(report["matched"], true)
            report["recall_sample"] = len(true)
        values = np.column_stack([probability, similarity[:, 0]])
        return pairs[found], values[found], report

    def _near(self, k: int) -> np.ndarray:
        found = [pair_candidates.both_ways(left, right, k) for left, right in self.views]
        return np.unique(np.concatenate(found))

    def _similarity(self, pairs: np.ndarray) -> np.ndarray:
        """Return the similarity of each pair in each view, (pairs, views)."""
        columns = [pair_candidates.similarities(*view, pairs) for view in self.views]
        return np.column_stack(columns).astype(float)

    def _learned(
        self, pairs: np.ndarray, given: np.ndarray, similarity: np.ndarray, known: np.ndarray
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Return probabilities that are learned from the known pairs, and how good they are."""
        limited = np.clip(given, 1e-6, 1 - 1e-6)
        margins = [
            pair_candidates.margins(*view, pairs, similarity[:, at])
            for at, view in enumerate(self.views)
        ]
        features = np.column_stack([np.log(limited / (1 - limited)), similarity, *margins])
        rows = np.searchsorted(pairs, known)
        answers = np.array([self.known[int(pair)] for pair in known], dtype=float)
        usable = ~np.isnan(given[rows])
        if min((answers[usable] == answer).sum() for answer in (0, 1)) < LEAST_KNOWN:
            raise OllamaMagicsError(
                f"known needs at least {LEAST_KNOWN} pairs that are true and {LEAST_KNOWN} that "
                "are not."
            )
        held, truth = features[rows][usable], answers[usable]
        fitted = pair_learning.fit(held, truth)
        probability = fitted.probabilities(features)
        probability[rows] = answers
        tested = pair_learning.cross_validated(held, truth)
        alone = given[rows][usable]
        return probability, {
            "known": len(known),
            "weights": dict(zip(FEATURES, fitted.weights.round(2).tolist(), strict=False)),
            "accuracy": float(((tested >= self.threshold) == truth).mean()),
            "model_accuracy": float(((alone >= self.threshold) == truth).mean()),
        }


def known_pairs(known: Any, left: Mapping[Any, int], right: Mapping[Any, int]) -> dict[int, bool]:
    """Return the known answers by the numbers of pairs.

    ``left`` and ``right`` give the rows of labels. Raises OllamaMagicsError for a pair that the
    tables do not have.
    """
    if not isinstance(known, Mapping):
        raise OllamaMagicsError(
            "known is a dict: (label of a left row, label of a right row) to True or False."
        )
    found = {}
    for pair, answer in known.items():
        try:
            row, place = left[pair[0]], right[pair[1]]
        except (KeyError, TypeError, IndexError):
            raise OllamaMagicsError(f"known has {pair!r}, which is no pair of labels.") from None
        if not isinstance(answer, bool | np.bool_):
            raise OllamaMagicsError(f"known says {answer!r} of {pair!r}, not True or False.")
        found[row * len(right) + place] = bool(answer)
    return found
