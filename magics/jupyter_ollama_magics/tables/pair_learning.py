"""Probabilities of pairs, learned from some whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PENALTY = 0.3
"""The weight of the squared weights, on features of unit variance; it keeps them finite."""

STEPS = 50
FOLDS = 5


@dataclass(frozen=True)
class Logistic:
    """A logistic regression: ``weights`` of features of unit variance, the bias last."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of each row of (rows, features)."""
        return _sigmoid(_design((features - self.mean) / self.scale) @ self.weights)


def fit(features: np.ndarray, answers: np.ndarray) -> Logistic:
    """Fit a logistic regression to (rows, features) and their answers, 0 or 1.

    Newton's method on the penalised likelihood; both answers weigh the same, however many of them
    are known.
    """
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    design = _design((features - mean) / scale)
    share = answers.mean()
    balance = np.where(answers > 0, 0.5 / share, 0.5 / (1 - share))
    penalty = np.full(design.shape[1], PENALTY)
    penalty[-1] = 1e-6
    weights = np.zeros(design.shape[1])
    for _ in range(STEPS):
        expected = _sigmoid(design @ weights)
        slope = design.T @ (balance * (answers - expected)) - penalty * weights
        curve = design.T * (balance * expected * (1 - expected)) @ design + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        weights = weights + step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return Logistic(mean, scale, weights)


def cross_validated(features: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the probability of each row by a regression that was fitted without its fold."""
    result = np.empty(len(answers))
    folds = np.empty(len(answers), dtype=int)
    # Each fold has its share of both answers.
    for answer in (0, 1):
        rows = np.flatnonzero(answers == answer)
        folds[rows] = np.arange(len(rows)) % FOLDS
    for fold in np.unique(folds):
        held = folds == fold
        rest = answers[~held]
        if rest.min() == rest.max():
            result[held] = rest.mean()
        else:
            result[held] = fit(features[~held], rest).probabilities(features[held])
    return result


def _design(features: np.ndarray) -> np.ndarray:
    return np.hstack([features, np.ones((len(features), 1))])


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -40, 40))))
