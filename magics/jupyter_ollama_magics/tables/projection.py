"""Points on the plane for unit vectors: main components, or neighbours by t-SNE or UMAP."""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from ..failures import OllamaMagicsError

Method = Literal["auto", "pca", "tsne", "umap"]
PACKAGES = {"umap": ("umap", "umap-learn"), "tsne": ("openTSNE", "openTSNE")}
"""The module and the distribution of each method."""

FEW = 10
"""Fewer rows have main components under "auto": they have no neighbourhoods to keep."""

MANY = 10_000
"""From so many rows on t-SNE uses all processors; for fewer, its threads wait for each other."""

NEIGHBOURS = 15
PERPLEXITY = 30.0


def chosen(method: Method, rows: int) -> str:
    """Return the method that is used. Raises OllamaMagicsError if it is not installed."""
    if method == "auto":
        installed = [name for name, (module, _) in PACKAGES.items() if find_spec(module)]
        return installed[0] if installed and rows >= FEW else "pca"
    if method not in ("pca", *PACKAGES):
        raise OllamaMagicsError('method is "auto", "pca", "tsne" or "umap".')
    if method in PACKAGES and not find_spec(PACKAGES[method][0]):
        raise OllamaMagicsError(
            f'method="{method}" needs {PACKAGES[method][1]}: %pip install {PACKAGES[method][1]}'
        )
    return method


def points(units: np.ndarray, method: str, seed: int) -> np.ndarray:
    """Return a point for each unit vector of (rows, dimensions), as (rows, 2)."""
    if method == "pca" or len(units) < 4:
        return main_components(units)
    with warnings.catch_warnings():
        # Both warn of settings that keep the result reproducible.
        warnings.simplefilter("ignore")
        return _umap(units, seed) if method == "umap" else _tsne(units, seed)


def main_components(units: np.ndarray) -> np.ndarray:
    """Return the coordinates of vectors on their two main axes."""
    centered = units - units.mean(axis=0)
    axes = np.linalg.eigh(centered.T @ centered)[1][:, :-3:-1]
    # The signs of eigenvectors are arbitrary; this rule makes them equal on all machines.
    largest = np.abs(axes).argmax(axis=0)
    return np.asarray(centered @ (axes * np.sign(axes[largest, [0, 1]])))


def _tsne(units: np.ndarray, seed: int) -> np.ndarray:
    import openTSNE

    embedding: Any = openTSNE.TSNE(
        perplexity=min(PERPLEXITY, (len(units) - 1) / 3),
        # Of unit vectors the distance grows with the cosine distance.
        metric="euclidean",
        initialization="pca",
        random_state=seed,
        n_jobs=1 if len(units) < MANY else os.cpu_count() or 1,
    ).fit(units)
    return np.asarray(embedding, dtype=float)


def _umap(units: np.ndarray, seed: int) -> np.ndarray:
    import umap

    neighbours = min(NEIGHBOURS, len(units) - 1)
    reducer: Any = umap.UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed)
    return np.asarray(reducer.fit_transform(units), dtype=float)
