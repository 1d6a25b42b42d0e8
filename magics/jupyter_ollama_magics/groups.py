"""Rows grouped and laid out on a plane by the meaning of their texts."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from .failures import OllamaMagicsError
from .similar import directions

MATPLOTLIB = "matplotlib"
RESTARTS = 4
MOST_ROUNDS = 100
TINY = np.finfo(np.float32).tiny
SETTLED = 1e-4
"""A round that makes the groups better by no more than this share is the last."""


def cluster(column: pd.Series, k: int, model: str | None, seed: int) -> pd.Series:
    """Return the group of each row, the largest is 0; missing where the row is."""
    present, units = directions(column, model)
    return _groups(units, present, k, seed, column.index)


def map2d(
    column: pd.Series, model: str | None, k: int | None, plot: bool, seed: int
) -> pd.DataFrame:
    """Return the place of each row, its group if ``k`` is given, and perhaps draw them."""
    if plot and pd.options.plotting.backend == MATPLOTLIB and not find_spec(MATPLOTLIB):
        raise OllamaMagicsError("plot=True needs matplotlib: %pip install matplotlib")
    present, units = directions(column, model)
    places = np.full((len(column), 2), np.nan)
    if len(units):
        places[present] = _main_components(units)
    frame = pd.DataFrame(places, column.index, ["x", "y"])
    if k is not None:
        frame["cluster"] = _groups(units, present, k, seed, column.index)
    if plot:
        _draw(frame[present])
    return frame


def _draw(frame: pd.DataFrame) -> None:
    if "cluster" not in frame:
        frame.plot.scatter("x", "y")
        return
    # The greys of pandas begin with white; other backends have colors of their own.
    colors: dict[str, Any] = (
        {"colormap": "viridis"} if pd.options.plotting.backend == MATPLOTLIB else {}
    )
    frame.astype({"cluster": "category"}).plot.scatter("x", "y", c="cluster", **colors)


def _groups(
    units: np.ndarray, present: np.ndarray, k: int, seed: int, index: pd.Index
) -> pd.Series:
    if k < 1:
        raise OllamaMagicsError("cluster wants at least one group.")
    groups = pd.array([pd.NA] * len(index), dtype="Int64")
    if len(units):
        groups[present] = _by_size(spherical_k_means(units, k, seed), k)
    return pd.Series(groups, index, name="cluster")


def spherical_k_means(units: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Return the nearest of ``k`` directions for each unit vector of ``units`` (rows, dimensions).

    The best of several starts counts, where the vectors are most like the direction of their group.
    """
    chance = np.random.default_rng(seed)
    best, best_labels = -np.inf, np.zeros(len(units), dtype=int)
    for _ in range(RESTARTS):
        labels, likeness = _settled(units, _first_centers(units, k, chance))
        if likeness > best:
            best, best_labels = likeness, labels
    return best_labels


def _first_centers(units: np.ndarray, k: int, chance: np.random.Generator) -> np.ndarray:
    """Choose rows as k-means++ does: the farther from those chosen, the likelier."""
    centers = [units[chance.integers(len(units))]]
    distances = np.full(len(units), np.inf)
    while len(centers) < k:
        distances = np.minimum(distances, np.clip(1 - units @ centers[-1], 0, None))
        # Equal texts are one place. Their distance may be a rounding error.
        weights = np.where(distances > 1e-6, distances, 0).astype(float)
        if not weights.any():
            break
        centers.append(units[chance.choice(len(units), p=weights / weights.sum())])
    return np.stack(centers)


def _settled(units: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, float]:
    reached = -np.inf
    for _ in range(MOST_ROUNDS):
        likeness = units @ centers.T
        labels, total = likeness.argmax(axis=1), float(likeness.max(axis=1).sum())
        if total - reached <= SETTLED * abs(total):
            break
        reached = total
        sums = np.eye(len(centers), dtype=units.dtype)[labels].T @ units
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        # A group that has lost all keeps its center.
        centers = np.where(lengths > 0, sums / np.maximum(lengths, TINY), centers)
    return labels, total


def _by_size(labels: np.ndarray, k: int) -> np.ndarray:
    order = np.argsort(-np.bincount(labels, minlength=k), kind="stable")
    return np.asarray(np.argsort(order)[labels])


def _main_components(units: np.ndarray) -> np.ndarray:
    centered = units - units.mean(axis=0)
    axes = np.linalg.eigh(centered.T @ centered)[1][:, :-3:-1]
    # Their signs are free; without a rule they would differ from machine to machine.
    largest = np.abs(axes).argmax(axis=0)
    return np.asarray(centered @ (axes * np.sign(axes[largest, [0, 1]])))
