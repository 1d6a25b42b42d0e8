"""Calibration of scores by a few labelled rows, so that shares become probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

STRENGTH = 0.1
"""The weight of the penalty on offsets and on the logarithm of the scale, which keeps them near 0
where there are few rows."""

ITERATIONS = 50
ENOUGH = 1e-8
LONGEST_STEP = 2.0
IMPOSSIBLE = -9999.0
"""The log-probability of an impossible token in /api/score."""


@dataclass(frozen=True)
class Calibration:
    """Replaces the scores of labels by ``scale`` times the score plus the label's offset.

    Without offsets the scores stay as they are. The offsets remove a model's preference for some of
    the labels, the scale its excess or lack of confidence.
    """

    scale: float = 1.0
    offsets: tuple[float, ...] = ()

    def adjusted(self, scores: Sequence[float]) -> list[float]:
        """Return the scores of a row, whose softmax are the probabilities."""
        if not self.offsets:
            return list(scores)
        return [
            self.scale * score + offset for score, offset in zip(scores, self.offsets, strict=True)
        ]

    @classmethod
    def fitted(cls, scores: Sequence[Sequence[float]], places: Sequence[int]) -> Self:
        """Return the calibration that makes the labels of rows most likely.

        It is a multinomial logistic regression with a penalty, fitted by Newton's method.

        Parameters
        ----------
        scores : sequence of shape (rows, labels)
            The score of each label for each row.
        places : sequence of int
            The index of the right label of each row.
        """
        given = np.maximum(np.array(scores, dtype=float), IMPOSSIBLE)
        centered = given - given.mean(axis=1, keepdims=True)
        unit = float(np.abs(centered).mean()) or 1.0  # cosines differ by less than logarithms
        centered /= unit
        labels = centered.shape[1]
        truth = np.eye(labels)[list(places)]
        found = np.zeros(labels + 1)  # the logarithm of the scale, and the offsets
        for _ in range(ITERATIONS):
            gradient, curvature = _derivatives(found, centered, truth)
            step = np.linalg.solve(curvature, gradient)
            step *= min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), ENOUGH))
            found = found - step
            if float(np.abs(step).max()) < ENOUGH:
                break
        scale = float(np.exp(found[0])) / unit
        return cls(scale, tuple(found[1:].tolist()))


PLAIN = Calibration()
"""The calibration that changes nothing."""


def _derivatives(
    found: np.ndarray, scores: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of the penalised loss, and a positive approximation of its curvature."""
    scale = float(np.exp(found[0]))
    logits = scale * scores + found[1:]
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    rows, labels = scores.shape
    # The derivatives of the logits of each row by the parameters: (rows, labels, parameters).
    slopes = np.concatenate(
        [scale * scores[:, :, None], np.broadcast_to(np.eye(labels), (rows, labels, labels))],
        axis=2,
    )
    gradient = np.einsum("rl,rlp->p", odds - truth, slopes) + STRENGTH * found
    mean = np.einsum("rl,rlp->rp", odds, slopes)
    curvature = np.einsum("rl,rlp,rlq->pq", odds, slopes, slopes)
    curvature -= np.einsum("rp,rq->pq", mean, mean)
    return gradient, curvature + STRENGTH * np.eye(labels + 1)
