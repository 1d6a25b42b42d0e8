"""The search of vectors in memory: exact, and by codes of one bit for each dimension."""

from __future__ import annotations

import numpy as np
import pytest
from jupyter_ollama_magics.search import vectors as vectors_module
from jupyter_ollama_magics.search.bit_codes import BitCodes
from jupyter_ollama_magics.search.fusion import fused
from jupyter_ollama_magics.search.vectors import Vectors

ROWS, SIZE, QUERIES = 20_000, 96, 40


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors with a common mean and clusters, as embeddings have, and queries near them."""
    scale = np.arange(1, SIZE + 1) ** -0.4
    centers = rng.normal(size=(ROWS // 100, SIZE)) + rng.normal(size=SIZE)
    rows = centers[rng.integers(len(centers), size=ROWS)] + 0.6 * rng.normal(size=(ROWS, SIZE))
    queries = rows[:QUERIES] + 0.3 * rng.normal(size=(QUERIES, SIZE))
    return unit(rows * scale), unit(queries * scale)


def uniform(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of all directions alike, the hardest case of estimates."""
    return unit(rng.normal(size=(ROWS, SIZE))), unit(rng.normal(size=(QUERIES, SIZE)))


@pytest.mark.parametrize("data", [clustered, uniform])
def test_codes_find_what_an_exact_search_finds(data: object) -> None:
    rows, queries = data(np.random.default_rng(5))  # type: ignore[operator]
    vectors = Vectors(rows, codes_from=0)
    found = 0
    for query in queries:
        places, values = vectors.nearest(query, 10)
        expected = np.argsort(-(rows @ query))[:10]
        found += len(set(places) & set(expected))
        assert values == pytest.approx(rows[places] @ query, abs=1e-6)
        assert (np.diff(values) <= 0).all()
    assert found >= 0.99 * 10 * QUERIES
    assert vectors._codes is not None


def test_codes_leave_most_vectors_out() -> None:
    rows, queries = clustered(np.random.default_rng(6))
    vectors = Vectors(rows, codes_from=0)
    candidates = [vectors._candidates(query, 10, None) for query in queries]
    assert sum(chosen is None for chosen in candidates) == 0
    assert np.mean([len(chosen) for chosen in candidates if chosen is not None]) < ROWS / 20


def test_all_vectors_are_compared_where_the_margin_is_too_wide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, queries = uniform(np.random.default_rng(7))
    monkeypatch.setattr(vectors_module, "MOST", ROWS)
    vectors = Vectors(rows, codes_from=0)
    assert vectors._candidates(queries[0], 10, None) is None
    places, _ = vectors.nearest(queries[0], 10)
    assert places.tolist() == np.argsort(-(rows @ queries[0]))[:10].tolist()


def test_estimates_have_the_error_that_is_foreseen() -> None:
    rows, queries = uniform(np.random.default_rng(8))
    codes = BitCodes(rows)
    exact = rows @ queries[0]
    estimates = codes.bounds(queries[0], 0)
    deviation = codes.bounds(queries[0], 1) - estimates
    errors = (estimates - exact) / deviation
    assert abs(errors.mean()) < 0.05
    assert 0.9 < errors.std() < 1.15
    assert ((codes.bounds(queries[0], 2.75) >= exact).mean()) > 0.995


@pytest.mark.parametrize("size", [3, 64, 100, 384, 700])
def test_codes_take_any_number_of_dimensions(size: int) -> None:
    rows = unit(np.random.default_rng(size).normal(size=(300, size)))
    estimates = BitCodes(rows).bounds(rows[7], 0)
    assert estimates.shape == (300,)
    assert np.corrcoef(estimates, rows @ rows[7])[0, 1] > 0.8


def test_equal_and_zero_vectors() -> None:
    rows = np.zeros((50, 8), np.float32)
    rows[:, 0] = 1
    rows[3] = 0
    places, values = Vectors(rows, codes_from=0).nearest(rows[0], 49)
    assert 3 not in places
    assert values.tolist() == [1.0] * 49


@pytest.mark.parametrize("codes_from", [0, 10**9])
def test_only_allowed_rows_are_searched(codes_from: int) -> None:
    rows, queries = uniform(np.random.default_rng(9))
    vectors = Vectors(rows, codes_from)
    allowed = np.arange(ROWS) % 3 == 0
    places, _ = vectors.nearest(queries[0], 10, allowed)
    expected = np.flatnonzero(allowed)[np.argsort(-(rows[allowed] @ queries[0]))[:10]]
    assert places.tolist() == expected.tolist()
    assert vectors.nearest(queries[0], 5, np.zeros(ROWS, bool))[0].size == 0
    assert len(Vectors(rows[:3]).nearest(queries[0], 10)[0]) == 3


def test_fused_ranks() -> None:
    scores = fused([["a", "b", "c"], ["b", "d"]])
    assert list(scores) == ["b", "a", "d", "c"]
    assert scores["b"] == pytest.approx(1 / 62 + 1 / 61)
    assert fused([]) == {}
