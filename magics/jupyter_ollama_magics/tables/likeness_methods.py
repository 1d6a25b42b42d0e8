"""The methods ``dedupe`` and ``similarity`` of the accessors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import columns
from . import duplicates
from .call import TableCall, column_of
from .steps import Steps, in_steps, with_twins

Keep = Literal["first", "last", "longest"]


class _Likeness(TableCall):
    def _dedupe(
        self,
        column: pd.Series,
        threshold: float,
        keep: Keep,
        model: str | None,
        into: str | None,
        cache: bool | str | Path,
    ) -> Steps[pd.DataFrame]:
        if not isinstance(threshold, int | float) or not 0 < threshold <= 1:
            raise OllamaMagicsError("threshold is a cosine similarity, above 0 and at most 1.")
        if not isinstance(into, str | None):
            raise OllamaMagicsError(f"into is the beginning of names of columns, not {into!r}.")
        present, units = yield from self._vectors(column, model, cache)
        order = _order(column[present], keep)
        # Rounding must not tell equal texts apart.
        kept = duplicates.kept_rows(units, threshold - 1e-6, order)
        kept.sort()
        rows = np.flatnonzero(present)
        is_kept = ~present
        is_kept[rows[kept]] = True
        if into is None:
            kept_data: pd.DataFrame = self._data[is_kept]
            return kept_data
        numbers = pd.array([pd.NA] * len(column), dtype="Int64")
        if len(rows):
            numbers[rows] = duplicates.groups(units, kept)
        frame = columns.named_frame(self._data).copy()
        frame[f"{into}_group"], frame[f"{into}_kept"] = numbers, is_kept
        return frame

    def _similarity(
        self, first: pd.Series, other: Any, model: str | None, cache: bool | str | Path
    ) -> Steps[pd.Series]:
        second = _second(first, other)
        here, units = yield from self._vectors(first, model, cache)
        there, others = yield from self._vectors(second, model, cache)
        result = np.full(len(first), np.nan, dtype=np.float32)
        both = here & there
        if both.any():
            if units.shape[1] != others.shape[1]:
                raise OllamaMagicsError(
                    f"The vectors have {units.shape[1]} and {others.shape[1]} numbers: both need "
                    "the same model."
                )
            left, right = units[np.cumsum(here)[both] - 1], others[np.cumsum(there)[both] - 1]
            result[both] = np.clip((left * right).sum(axis=1), -1, 1)
        return pd.Series(result, first.index, name="similarity")


@with_twins
class SeriesLikeness(_Likeness):
    """``dedupe`` and ``similarity`` of a Series."""

    @in_steps
    def dedupe(
        self,
        threshold: float = 0.9,
        model: str | None = None,
        *,
        keep: Keep = "first",
        into: str | None = None,
        cache: bool | str | Path = False,
    ) -> Steps[pd.Series | pd.DataFrame]:
        """Return the rows without those that mean the same as a kept one.

        A row is left out if the cosine similarity of its vector and a kept row's is at least
        ``threshold``. Chains do not count: each row that is left out is that similar to a kept one.

        Parameters
        ----------
        threshold : float
            The least similarity of rows that mean the same. It depends on the model: look at
            ``similar`` or ``similarity`` of a few rows first.
        model : str, optional
            The embedding model, if the rows are texts.
        keep : {"first", "last", "longest"}
            Which row of a group is kept.
        into : str, optional
            Return all rows as a DataFrame, with the columns ``into_group`` (the number of the kept
            row, in their order) and ``into_kept``.
        cache : bool, str or Path
            Keep the vectors in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        Series, or DataFrame with ``into``
            The kept rows in their order. Missing values are kept, and have no group.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, the rows are neither texts nor vectors of ``embed``, or no
            server or model is found.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", "The cat is sleeping", "Stocks fell"])
        >>> texts.ollama.dedupe(0.8, "all-minilm").tolist()
        ['A cat sleeps', 'Stocks fell']
        >>> texts.ollama.dedupe(0.8, "all-minilm", into="same").same_group.tolist()
        [0, 0, 1]
        """
        return (yield from self._dedupe(self._data, threshold, keep, model, into, cache))

    @in_steps
    def similarity(
        self,
        other: str | Sequence[Any] | pd.Series,
        model: str | None = None,
        *,
        cache: bool | str | Path = False,
    ) -> Steps[pd.Series]:
        """Return the cosine similarity of each row to a text, or to the same row of ``other``.

        Parameters
        ----------
        other : str, sequence or Series
            A text, or as many texts or vectors as there are rows.
        model : str, optional
            The embedding model, for texts.
        cache : bool, str or Path
            Keep the vectors in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        Series of float32
            From -1 to 1; NaN where one of the two is missing.

        Raises
        ------
        OllamaMagicsError
            If ``other`` has another number of rows, or the vectors have different lengths.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", "Stocks fell"])
        >>> near = texts.ollama.similarity("The cat is sleeping", "all-minilm")
        >>> (near > 0.5).tolist()
        [True, False]
        """
        return (yield from self._similarity(self._data, other, model, cache))


@with_twins
class FrameLikeness(_Likeness):
    """``dedupe`` and ``similarity`` of a DataFrame."""

    @in_steps
    def dedupe(
        self,
        column: Any,
        threshold: float = 0.9,
        model: str | None = None,
        *,
        keep: Keep = "first",
        into: str | None = None,
        cache: bool | str | Path = False,
    ) -> Steps[pd.DataFrame]:
        """Return the rows without those whose ``column`` means the same as in a kept row.

        A row is left out if the cosine similarity of its vector and a kept row's is at least
        ``threshold``. Chains do not count: each row that is left out is that similar to a kept one.

        Parameters
        ----------
        column : hashable
            The name of a column of texts, or of vectors of ``embed``.
        threshold : float
            The least similarity of rows that mean the same. It depends on the model.
        model : str, optional
            The embedding model, if the column holds texts.
        keep : {"first", "last", "longest"}
            Which row of a group is kept.
        into : str, optional
            Return all rows, with the columns ``into_group`` (the number of the kept row, in their
            order) and ``into_kept``.
        cache : bool, str or Path
            Keep the vectors in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        DataFrame
            The kept rows in their order. Rows with a missing value are kept, and have no group.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, the column does not exist or holds other values, or no server
            or model is found.

        Examples
        --------
        >>> frame = pd.DataFrame({"id": [1, 2, 3], "text": ["A cat sleeps", "A cat naps", "Tax"]})
        >>> frame.ollama.dedupe("text", 0.8, "all-minilm")["id"].tolist()
        [1, 3]
        """
        chosen = column_of(self._data, column)
        return (yield from self._dedupe(chosen, threshold, keep, model, into, cache))

    @in_steps
    def similarity(
        self,
        a: Any,
        b: Any,
        model: str | None = None,
        *,
        cache: bool | str | Path = False,
    ) -> Steps[pd.Series]:
        """Return the cosine similarity of two columns, row by row.

        Parameters
        ----------
        a, b : hashable
            The names of columns of texts, or of vectors of ``embed``.
        model : str, optional
            The embedding model, for columns of texts.
        cache : bool, str or Path
            Keep the vectors in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        Series of float32
            From -1 to 1; NaN where one of the two is missing.

        Raises
        ------
        OllamaMagicsError
            If a column does not exist or holds other values, or the vectors have different lengths.

        Examples
        --------
        >>> frame = pd.DataFrame({"a": ["A cat", "Tax"], "b": ["A kitten", "A kitten"]})
        >>> near = frame.ollama.similarity("a", "b", "all-minilm")
        >>> bool(near[0] > near[1])
        True
        """
        first, second = column_of(self._data, a), column_of(self._data, b)
        return (yield from self._similarity(first, second, model, cache))


def _second(first: pd.Series, other: Any) -> pd.Series:
    """Return the other side as a Series with the index of the first. Raises OllamaMagicsError."""
    if isinstance(other, str):
        other = [other] * len(first)
    if not isinstance(other, Sequence | pd.Series | np.ndarray):
        raise OllamaMagicsError(f"similarity takes texts, not {type(other).__name__}.")
    if len(other) != len(first):
        raise OllamaMagicsError(f"similarity has {len(first)} rows and {len(other)} others.")
    if not isinstance(other, pd.Series):
        return columns.objects(list(other), first.index, None)
    if not other.index.equals(first.index):
        raise OllamaMagicsError(
            "The rows of similarity have other labels: give a column of the same DataFrame, or "
            ".tolist() to compare them in their order."
        )
    return other


def _order(column: pd.Series, keep: Keep) -> np.ndarray:
    """Return the rows in the order in which they are considered."""
    rows = np.arange(len(column))
    if keep == "first":
        return rows
    if keep == "last":
        return rows[::-1]
    if keep != "longest":
        raise OllamaMagicsError('keep is "first", "last" or "longest".')
    if not all(isinstance(text, str) for text in column):
        raise OllamaMagicsError('keep="longest" needs texts: give the column of texts.')
    lengths = np.array([len(text) for text in column])
    return np.argsort(-lengths, kind="stable")
