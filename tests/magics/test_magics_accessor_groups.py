"""Clusters of rows."""

from __future__ import annotations

import jupyter_ollama_magics.accessor  # noqa: F401
import numpy as np
import pandas as pd
import pytest
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.tables import groups

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
