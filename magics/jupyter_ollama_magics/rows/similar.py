"""The rows nearest to a text, by cosine similarity."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..prefixes import check_kind
from . import columns
from .vector_files import is_vector_text


def nearest(
    frame: pd.DataFrame,
    column: pd.Series,
    query: str,
    k: int,
    model: str | None,
    prefix: str | None = None,
) -> pd.DataFrame:
    """Return the ``k`` rows of ``frame`` whose ``column`` is nearest to ``query``, best first.

    Texts and the query get the model's prefixes; ``prefix`` replaces the one of the query.
    """
    if not isinstance(query, str):
        raise OllamaMagicsError(f"The query is a text, not {type(query).__name__}.")
    if not isinstance(k, Integral) or k < 1:
        raise OllamaMagicsError("k is a positive integer, the number of rows.")
    check_kind("query", prefix)
    present, units = unit_vectors(column, model, "document")
    frame = frame[present]
    if not len(units):
        return frame.assign(similarity=pd.Series(dtype="float32"))
    asked = _embedded(
        pd.Series([query]), model, dimensions=units.shape[1], kind="query", prefix=prefix
    )
    target = normalized(columns.matrix(asked))[0]
    if target.shape != units.shape[1:]:
        raise OllamaMagicsError(
            f"The column has vectors of {units.shape[1]} numbers and the query one of "
            f"{len(target)}: name the model that made them by model=."
        )
    similarity = units @ target
    best = np.argsort(-similarity, kind="stable")[:k]
    return frame.iloc[best].assign(similarity=similarity[best])


def unit_vectors(
    column: pd.Series, model: str | None, kind: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return a mask of the rows with a value, and the unit vectors of those rows.

    The column holds vectors, or texts, which are embedded as texts of a ``kind``. The shapes are
    (rows,) and (rows with a value, dimensions).
    """
    present = column.notna().to_numpy(bool)
    column = column[present]
    if column.empty:
        return present, np.empty((0, 0), dtype=np.float32)
    if holds_texts(column):
        column = _embedded(column, model, kind=kind)
    return present, normalized(columns.matrix(column))


def holds_texts(column: pd.Series) -> bool:
    """Return whether a column without missing values begins with a text, and not a vector.

    Raises OllamaMagicsError for vectors written as texts.
    """
    if not isinstance(column.iloc[0], str):
        return False
    if all(isinstance(text, str) and is_vector_text(text) for text in column.head()):
        raise OllamaMagicsError(
            f"The column {column.name} holds vectors written as texts, as CSV files do, which "
            "loses digits. to_parquet and to_feather keep vectors; embed makes them anew."
        )
    return True


def normalized(matrix: np.ndarray) -> np.ndarray:
    """Return the rows of a matrix at unit length."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(matrix / np.maximum(lengths, np.finfo(np.float32).tiny))


def _embedded(texts: Any, model: str | None, **how: Any) -> pd.Series:
    vectors: pd.Series = texts.ollama.embed(model=model, **how)
    return vectors
