"""Columns of results: texts, typed fields, labels, probabilities, vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from .fields import Field, json_equal

TEXT: Any = "str" if pd.__version__ >= "3" else "string"

_DTYPES = {"integer": "Int64", "number": "float64", "boolean": "boolean"}


def texts(values: Sequence[str | None], index: pd.Index, name: Any) -> pd.Series:
    """Return a column of texts; None becomes a missing value."""
    try:
        return pd.Series(list(values), index=index, name=name, dtype=TEXT)
    except UnicodeError:  # a lone surrogate, which Arrow cannot encode
        return objects(values, index, name)


def objects(values: Sequence[Any], index: pd.Index, name: Any) -> pd.Series:
    """Return a column of any Python values."""
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        column[row] = value
    return pd.Series(column, index=index, name=name, dtype=object)


def labels(
    values: Sequence[str | None], given: Mapping[str, Any], index: pd.Index, name: Any
) -> pd.Series:
    """Return a categorical column; ``given`` maps texts to labels, in the order of categories."""
    chosen = [None if value is None else given[value] for value in values]
    categories = pd.Categorical(chosen, categories=list(given.values()))
    return pd.Series(categories, index=index, name=name)


def typed(
    values: Sequence[dict[str, Any] | None], fields: Sequence[Field], index: pd.Index
) -> pd.DataFrame:
    """Return a column for each field, with its dtype; ``values`` come from ``Fields.parse``.

    Values that the dtype cannot hold, such as integers of thirty digits, make a column of objects.
    """
    return pd.DataFrame(
        {
            field.name: _typed([(value or {}).get(field.name) for value in values], field, index)
            for field in fields
        },
        index=index,
    )


def _typed(values: list[Any], field: Field, index: pd.Index) -> pd.Series:
    column: pd.Series | None = None
    if field.choices is not None:
        column = _categories(values, field.choices, index)
    elif field.date_format:
        column = _times(values, field.date_format == "date-time", index)
    elif field.kinds == {"string"}:
        column = texts(values, index, None)
    elif len(field.kinds) == 1 and _is_exact(values, kind := next(iter(field.kinds))):
        column = pd.Series(values, index=index, dtype=_DTYPES.get(kind, "object"))
    return objects(values, index, None) if column is None else column


def _is_exact(values: list[Any], kind: str) -> bool:
    """Return whether the dtype of ``kind`` holds the values without loss."""
    if kind == "integer":
        return all(value is None or -(2**63) <= value < 2**63 for value in values)
    if kind == "number":
        return all(value is None or _is_double(value) for value in values)
    return kind in _DTYPES


def _is_double(value: float) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _categories(values: list[Any], choices: Sequence[Any], index: pd.Index) -> pd.Series | None:
    codes = [
        next((code for code, choice in enumerate(choices) if json_equal(choice, value)), -1)
        for value in values
    ]
    try:
        categories: Any = list(choices)
        return pd.Series(pd.Categorical.from_codes(codes, categories), index=index)
    except (TypeError, ValueError):  # lists, or true beside 1
        return None


def _times(values: list[pd.Timestamp | None], zoned: bool, index: pd.Index) -> pd.Series | None:
    """Return a column of times, in UTC if one of them has a time zone.

    All partitions of a larger frame get one unit, unless values have nanoseconds.
    """
    present = [value for value in values if value is not None]
    in_utc = any(value.tzinfo is not None for value in present) or (zoned and not present)
    unit: Literal["us", "ns"] = "ns" if any(value.nanosecond for value in present) else "us"
    column = np.full(len(values), np.datetime64("NaT"), dtype=f"datetime64[{unit}]")
    try:
        for row, value in enumerate(values):
            if value is not None:
                bare = value if value.tzinfo is None else value.tz_convert("UTC").tz_localize(None)
                column[row] = bare.as_unit(unit).to_numpy()
    except (ValueError, OverflowError):  # outside the years that nanoseconds can count
        return None
    return pd.Series(pd.DatetimeIndex(column).tz_localize("UTC" if in_utc else None), index=index)


def cast(column: pd.Series, dtype: Any) -> pd.Series:
    """Return a column cast to ``dtype``; times without a zone are read as UTC."""
    if isinstance(dtype, pd.DatetimeTZDtype) and column.dt.tz is None:
        column = column.dt.tz_localize(dtype.tz)
    return column.astype(dtype)


def cast_each(frame: pd.DataFrame, dtypes: Mapping[Any, Any]) -> pd.DataFrame:
    """Return a DataFrame with some columns cast to other dtypes."""
    frame = frame.copy(deep=False)
    for name, dtype in dtypes.items():
        if isinstance(dtype, pd.DatetimeTZDtype):
            frame[name] = cast(frame[name], dtype)
    return frame.astype(dtypes)


def with_errors(result: pd.Series | pd.DataFrame, errors: Sequence[str | None]) -> pd.DataFrame:
    """Return ``result`` with a last column of error messages."""
    frame = result if isinstance(result, pd.DataFrame) else result.rename("answer").to_frame()
    name = "error"
    while name in frame.columns:
        name += "_"
    return frame.assign(**{name: texts(errors, frame.index, name)})


def named_frame(data: pd.Series | pd.DataFrame) -> pd.DataFrame:
    """Return a Series as a DataFrame of one column, "text" if it has no name."""
    if isinstance(data, pd.DataFrame):
        return data
    return data.to_frame("text" if data.name is None else data.name)


def assign(
    data: pd.Series | pd.DataFrame,
    result: pd.Series | pd.DataFrame,
    errors: Sequence[str | None] | None,
    into: str,
) -> pd.DataFrame:
    """Return ``data`` with the column ``into``, or ``into_name`` for each column of the result."""
    data = named_frame(data)
    if isinstance(result, pd.DataFrame):
        new = {f"{into}_{name}": column for name, column in result.items()}
    else:
        new = {into: result}
    if errors is not None:
        new[f"{into}_error"] = texts(errors, data.index, None)
    return data.assign(**new)


def expanded(values: Sequence[Any], index: pd.Index, name: Any = None) -> pd.DataFrame:
    """Return a column for each dimension of float32 vectors, NaN where a vector is missing."""
    size = next((len(value) for value in values if value is not None), 0)
    rows = np.full((len(values), size), np.nan, dtype=np.float32)
    for row, value in enumerate(values):
        if value is not None:
            rows[row] = value
    return pd.DataFrame(rows, index)


def probabilities(
    values: Sequence[Sequence[float] | None], given: Mapping[str, Any], index: pd.Index
) -> pd.DataFrame:
    """Return a column of probabilities for each label of ``given``, NaN where a row is missing."""
    empty = [np.nan] * len(given)
    rows = np.array([empty if value is None else value for value in values], dtype="float64")
    return pd.DataFrame(rows.reshape(-1, len(given)), index, list(given.values()))


def vectors(values: Sequence[Any], index: pd.Index, name: Any) -> pd.Series:
    """Return a column of float32 vectors: fixed-size lists of Arrow if pyarrow is installed."""
    size = next((len(value) for value in values if value is not None), 0)
    if not size or not find_spec("pyarrow"):
        return objects(values, index, name)
    import pyarrow as pa  # type: ignore[import-untyped]

    empty = np.zeros(size, dtype=np.float32)
    rows = np.stack([empty if value is None else value for value in values])
    missing = pa.array([value is None for value in values])
    lists = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), size, mask=missing)
    return pd.Series(pd.arrays.ArrowExtensionArray(lists), index=index, name=name)


def matrix(column: pd.Series) -> np.ndarray:
    """Return the vectors of a column without missing values, as an array (rows, dimensions)."""
    if isinstance(column.dtype, pd.ArrowDtype):
        import pyarrow as pa

        lists = pa.chunked_array(pa.array(column)).combine_chunks()
        return np.asarray(lists.flatten(), dtype=np.float32).reshape(len(column), -1)
    try:
        rows = np.stack([np.asarray(value, dtype=np.float32) for value in column])
    except (TypeError, ValueError):
        rows = np.empty(0, dtype=np.float32)
    if rows.ndim != 2:
        raise OllamaMagicsError(
            f"The column {column.name} holds neither texts nor vectors of one length."
        )
    return rows
