"""The rows nearest to a text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from . import columns


def nearest(
    frame: pd.DataFrame, column: pd.Series, query: str, k: int, model: str | None
) -> pd.DataFrame:
    """Return the ``k`` rows of ``frame`` whose ``column`` is nearest to ``query``, best first."""
    present, units = directions(column, model)
    frame = frame[present]
    if not len(units):
        return frame.assign(similarity=pd.Series(dtype="float32"))
    target = _units(columns.matrix(_embedded(pd.Series([query]), model, units.shape[1])))[0]
    similarity = units @ target
    best = np.argsort(-similarity, kind="stable")[:k]
    return frame.iloc[best].assign(similarity=similarity[best])


def directions(column: pd.Series, model: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows of a column have a value, and their vectors with the length 1.

    The column holds vectors, or texts, which are embedded.
    """
    present = column.notna().to_numpy(bool)
    column = column[present]
    if column.empty:
        return present, np.empty((0, 0), dtype=np.float32)
    vectors = _embedded(column, model) if isinstance(column.iloc[0], str) else column
    return present, _units(columns.matrix(vectors))


def _units(matrix: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix / np.maximum(lengths, np.finfo(np.float32).tiny))


def _embedded(texts: Any, model: str | None, dimensions: int | None = None) -> pd.Series:
    vectors: pd.Series = texts.ollama.embed(model=model, dimensions=dimensions)
    return vectors
