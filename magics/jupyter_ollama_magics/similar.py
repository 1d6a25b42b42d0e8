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
    present = column.notna().to_numpy(bool)
    column = column[present]
    if column.empty:
        return frame[present].assign(similarity=pd.Series(dtype="float32"))
    matrix = columns.matrix(_embedded(column, model) if isinstance(column.iloc[0], str) else column)
    target = columns.matrix(_embedded(pd.Series([query]), model, matrix.shape[1]))[0]
    lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(target)
    similarity = matrix @ target / np.maximum(lengths, np.finfo(np.float32).tiny)
    best = np.argsort(-similarity, kind="stable")[:k]
    return frame[present].iloc[best].assign(similarity=similarity[best])


def _embedded(texts: Any, model: str | None, dimensions: int | None = None) -> pd.Series:
    vectors: pd.Series = texts.ollama.embed(model=model, dimensions=dimensions)
    return vectors
