"""Embeddings of an upstream, checked, as the engine's."""

from __future__ import annotations

from typing import Any

from ..engine.runner_client import Embeddings
from .failures import Failures


def embeddings_of(
    failures: Failures, vectors: Any, count: int, tokens: int, normalize: bool = False
) -> Embeddings:
    """Return ``count`` rows of float32 of lists of numbers. Raises UpstreamFailure for others.

    With ``normalize`` the rows are unit vectors.
    """
    import numpy as np

    if not isinstance(vectors, list) or len(vectors) != count:
        raise failures.nonsense(f"another number of vectors than {count}")
    try:
        rows = np.array(vectors, np.float32)
    except (ValueError, TypeError, OverflowError):
        raise failures.nonsense("vectors that are no numbers or differ in size") from None
    if rows.ndim != 2 or not rows.shape[1]:
        raise failures.nonsense("vectors that are no numbers or differ in size")
    if normalize:
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows /= np.where(norms == 0, 1, norms)
    return Embeddings(rows.astype("<f4").tobytes(), count, rows.shape[1], tokens)
