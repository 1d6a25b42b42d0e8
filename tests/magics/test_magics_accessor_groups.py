"""Clusters and two-dimensional maps of rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from jupyter_ollama_magics import groups
from jupyter_ollama_magics.failures import OllamaMagicsError

PLACES = np.random.default_rng(5)


@pytest.fixture
def vectors() -> pd.Series:
    """Ten, twenty and five rows around three directions, mixed, one of them missing."""
    centers = np.eye(8)[[0, 3, 6]].repeat([20, 10, 5], axis=0)
    rows = centers * 4 + PLACES.normal(size=centers.shape) * 0.2
    rows *= PLACES.uniform(0.1, 9, size=(35, 1))
    data = pd.Series([*rows.astype(np.float32), None], index=[*range(35), "missing"], name="v")
    return data.sample(frac=1, random_state=1)


def test_groups_are_numbered_by_size(vectors: pd.Series) -> None:
    found = vectors.ollama.cluster(3)
    assert (found.name, str(found.dtype)) == ("cluster", "Int64")
    assert found.index.equals(vectors.index)
    assert found.isna().sum() == 1
    truth = {**dict.fromkeys(range(20), 0), **dict.fromkeys(range(20, 30), 1)}
    truth |= dict.fromkeys(range(30, 35), 2)
    assert found.dropna().to_dict() == truth
    assert vectors.ollama.cluster(3, seed=0).equals(found)


def test_as_good_as_a_search_of_all_pairs() -> None:
    units = PLACES.normal(size=(12, 3))
    units /= np.linalg.norm(units, axis=1, keepdims=True)

    def likeness(labels: np.ndarray) -> float:
        sums = [np.linalg.norm(units[labels == group].sum(axis=0)) for group in np.unique(labels)]
        return float(sum(sums))

    bits = ((np.arange(2**12)[:, None] >> np.arange(12)) & 1).astype(int)
    best = max(likeness(labels) for labels in bits)
    assert likeness(groups.spherical_k_means(units, 2, seed=0)) == pytest.approx(best)


def test_more_groups_than_rows() -> None:
    same = pd.Series([np.ones(3, np.float32)] * 4)
    assert same.ollama.cluster(8).tolist() == [0] * 4
    assert same[:0].ollama.cluster().empty
    with pytest.raises(OllamaMagicsError, match="the number of groups"):
        same.ollama.cluster(0)


def test_neighbours_stay_near_on_the_plane(vectors: pd.Series) -> None:
    points = vectors.ollama.map2d(k=3)
    assert points.columns.tolist() == ["x", "y", "cluster"]
    assert points.index.equals(vectors.index)
    assert points.isna().all(axis=1).to_dict()["missing"]
    middles = points.dropna().groupby("cluster")[["x", "y"]].mean()
    spread = points.dropna().groupby("cluster")[["x", "y"]].std().to_numpy().max()
    apart = np.linalg.norm(middles.to_numpy()[:, None] - middles.to_numpy(), axis=-1)
    assert apart[np.triu_indices(3, 1)].min() > 3 * spread
    # The components are those of a singular value decomposition, except for their signs.
    units = np.stack(vectors.dropna())
    units = units / np.linalg.norm(units, axis=1, keepdims=True)
    u, s, _ = np.linalg.svd(units - units.mean(axis=0), full_matrices=False)
    found = points.dropna()[["x", "y"]].to_numpy()
    assert np.abs(found) == pytest.approx(np.abs(u[:, :2] * s[:2]), abs=1e-5)


@pytest.fixture
def drawn() -> Iterator[list[dict[str, Any]]]:
    """The calls of a plotting backend of pandas."""
    calls: list[dict[str, Any]] = []
    backend = ModuleType("noted_plots")
    backend.plot = lambda data, **how: calls.append({"data": data, **how})  # type: ignore[attr-defined]
    sys.modules["noted_plots"] = backend
    with pd.option_context("plotting.backend", "noted_plots"):
        yield calls
    del sys.modules["noted_plots"]


def test_plot(vectors: pd.Series, drawn: list[dict[str, Any]]) -> None:
    points = vectors.ollama.map2d(k=3, plot=True)
    (call,) = drawn
    assert (call["kind"], call["x"], call["y"], call["c"]) == ("scatter", "x", "y", "cluster")
    assert call["data"]["x"].tolist() == points["x"].dropna().tolist()
    assert call["data"]["cluster"].dtype == "category"
    vectors.ollama.map2d(plot=True)
    assert drawn[1]["c"] is None


def test_plot_without_matplotlib(vectors: pd.Series, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Callable[[str], None] = lambda name: None  # noqa: E731
    monkeypatch.setattr(groups, "find_spec", missing)
    with pytest.raises(OllamaMagicsError, match="plot=True needs matplotlib"):
        vectors.ollama.map2d(plot=True)
