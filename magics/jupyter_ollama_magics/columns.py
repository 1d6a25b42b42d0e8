"""Columns for what came of rows: texts, typed fields, labels, vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

TEXT: Any = "str" if pd.__version__ >= "3" else "string"

_DTYPES = {"string": TEXT, "integer": "Int64", "number": "float64", "boolean": "boolean"}


def texts(values: Sequence[str | None], index: pd.Index, name: Any) -> pd.Series:
    """Return a column of texts; None is missing."""
    return pd.Series(list(values), index=index, name=name, dtype=TEXT)


def objects(values: Sequence[Any], index: pd.Index, name: Any) -> pd.Series:
    """Return a column of any Python values."""
    column = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        column[row] = value
    return pd.Series(column, index=index, name=name)


def labels(
    values: Sequence[str | None], given: Mapping[str, Any], index: pd.Index, name: Any
) -> pd.Series:
    """Return a categorical column; ``given`` has the label of each text, in their order."""
    found = [None if value is None else given[value] for value in values]
    categories = pd.Categorical(found, categories=list(given.values()))
    return pd.Series(categories, index=index, name=name)


def typed(
    values: Sequence[dict[str, Any] | None], schema: Mapping[str, Any], index: pd.Index
) -> pd.DataFrame:
    """Return a column for each property of ``schema``, of the type that it names."""
    return pd.DataFrame(
        {
            name: _typed([(value or {}).get(name) for value in values], _plain(part, schema), index)
            for name, part in schema["properties"].items()
        },
        index=index,
    )


def _plain(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a property is where it is present: follow references, leave null away."""
    if "$ref" in part:
        return _plain(schema.get("$defs", {}).get(part["$ref"].rpartition("/")[2], {}), schema)
    choices = [one for one in part.get("anyOf", ()) if one.get("type") != "null"]
    return _plain(choices[0], schema) if len(choices) == 1 else part


def _typed(values: list[Any], part: Mapping[str, Any], index: pd.Index) -> pd.Series:
    allowed = [value for value in part.get("enum", ()) if value is not None]
    if allowed:
        return pd.Series(pd.Categorical(values, categories=allowed), index=index)
    kind = part.get("type")
    dtype = _DTYPES.get(kind) if isinstance(kind, str) else None
    column: pd.Series
    try:
        if part.get("format") in ("date", "date-time"):
            times: Any = pd.to_datetime(values, errors="coerce")
            # One unit, so that the parts of a larger frame fit together.
            column = pd.Series(times.as_unit("us"), index=index)
            return column
        if dtype is not None:
            column = pd.Series(values, index=index, dtype=dtype)
            return column
    # A number of thirty digits, for one, or times of several time zones.
    except (AttributeError, OverflowError, TypeError, ValueError):
        pass
    return objects(values, index, None)


def with_errors(result: pd.Series | pd.DataFrame, errors: Sequence[str | None]) -> pd.DataFrame:
    """Return ``result`` and a last column of what went wrong."""
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


def beside(
    data: pd.Series | pd.DataFrame,
    result: pd.Series | pd.DataFrame,
    errors: Sequence[str | None] | None,
    into: str,
) -> pd.DataFrame:
    """Return ``data`` and the column ``into``; of a result of several columns ``into_name``."""
    data = named_frame(data)
    if isinstance(result, pd.DataFrame):
        new = {f"{into}_{name}": column for name, column in result.items()}
    else:
        new = {into: result}
    if errors is not None:
        new[f"{into}_error"] = texts(errors, data.index, None)
    return data.assign(**new)


def expanded(values: Sequence[Any], index: pd.Index) -> pd.DataFrame:
    """Return a column for each dimension of float32 vectors, NaN where one is missing."""
    size = next((len(value) for value in values if value is not None), 0)
    rows = np.full((len(values), size), np.nan, dtype=np.float32)
    for row, value in enumerate(values):
        if value is not None:
            rows[row] = value
    return pd.DataFrame(rows, index)


def shares(
    values: Sequence[Sequence[float] | None], given: Mapping[str, Any], index: pd.Index
) -> pd.DataFrame:
    """Return a column of probabilities for each label of ``given``, NaN where they are missing."""
    empty = [np.nan] * len(given)
    rows = np.array([empty if value is None else value for value in values], dtype="float64")
    return pd.DataFrame(rows.reshape(-1, len(given)), index, list(given.values()))


def vectors(values: Sequence[Any], index: pd.Index, name: Any) -> pd.Series:
    """Return a column of float32 vectors: fixed-size lists of Arrow where pyarrow is there."""
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
    """Return the vectors of a column without missing values as an array (rows, dimensions)."""
    if isinstance(column.dtype, pd.ArrowDtype):
        import pyarrow as pa

        lists = pa.chunked_array(pa.array(column)).combine_chunks()
        return np.asarray(lists.flatten(), dtype=np.float32).reshape(len(column), -1)
    return np.stack([np.asarray(value, dtype=np.float32) for value in column])
