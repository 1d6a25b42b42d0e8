"""Groups of rows by the meaning of their texts."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..rows.similar import unit_vectors

RESTARTS = 4
MAX_ITERATIONS = 100
TINY = np.finfo(np.float32).tiny
TOLERANCE = 1e-4
"""Iteration stops when the total similarity grows by no more than this share."""


def cluster(column: pd.Series, k: int, model: str | None, seed: int) -> pd.Series:
    """Return the group of each row, 0 for the largest; missing values stay missing."""
    _check(k)
    check_seed(seed)
    present, units = unit_vectors(column, model)
    return numbers(units, present, k, seed, column.index)


def _check(k: Any) -> None:
    if not isinstance(k, Integral) or k < 1:
        raise OllamaMagicsError("k is a positive integer, the number of groups.")


def check_seed(seed: Any) -> None:
    """Raise OllamaMagicsError if a seed is not one that numpy takes."""
    if not isinstance(seed, Integral) or seed < 0:
        raise OllamaMagicsError("seed is an integer, 0 or more.")


def numbers(
    units: np.ndarray, present: np.ndarray, k: int, seed: int, index: pd.Index
) -> pd.Series:
    """Return the group of each row, missing where it is not ``present``."""
    groups = pd.array([pd.NA] * len(index), dtype="Int64")
    if len(units):
        groups[present] = by_size(spherical_k_means(units, k, seed), k)
    return pd.Series(groups, index, name="cluster")


def spherical_k_means(units: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Return the group of each unit vector of ``units`` (rows, dimensions).

    Spherical k-means (Dhillon and Modha 2001) with the centers of k-means++ (Arthur and
    Vassilvitskii 2007): of several starts, the one with the largest total similarity of vectors to
    their centers is returned.
    """
    rng = np.random.default_rng(seed)
    best, best_labels = -np.inf, np.zeros(len(units), dtype=int)
    for _ in range(RESTARTS):
        labels, similarity = _iterate(units, _initial_centers(units, k, rng))
        if similarity > best:
            best, best_labels = similarity, labels
    return best_labels


def _initial_centers(units: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Choose rows by k-means++: the probability of a row grows with its distance to the chosen."""
    centers = [units[rng.integers(len(units))]]
    distances = np.full(len(units), np.inf)
    while len(centers) < k:
        distances = np.minimum(distances, np.clip(1 - units @ centers[-1], 0, None))
        # The distance of equal texts may be a rounding error instead of 0.
        weights = np.where(distances > 1e-6, distances, 0).astype(float)
        if not weights.any():
            break
        centers.append(units[rng.choice(len(units), p=weights / weights.sum())])
    return np.stack(centers)


def _iterate(units: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, float]:
    previous = -np.inf
    for _ in range(MAX_ITERATIONS):
        similarity = units @ centers.T
        labels, total = similarity.argmax(axis=1), float(similarity.max(axis=1).sum())
        if total - previous <= TOLERANCE * abs(total):
            break
        previous = total
        sums = np.eye(len(centers), dtype=units.dtype)[labels].T @ units
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # An empty group keeps its center.
        centers = np.where(lengths > 0, sums / np.maximum(lengths, TINY), centers)
    return labels, total


def by_size(labels: np.ndarray, k: int) -> np.ndarray:
    """Return the numbers of groups with 0 for the largest."""
    order = np.argsort(-np.bincount(labels, minlength=k), kind="stable")
    return np.asarray(np.argsort(order)[labels])
