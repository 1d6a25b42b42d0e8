"""Columns of Polars as columns of pandas, and results as columns of Polars."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection
from typing import Any

import pandas as pd
import polars as pl
from polars.datatypes import DataTypeClass

Dtype = pl.DataType | DataTypeClass

Kind = Callable[[str], Dtype | None]
"""Returns the dtype of a column whose values are JSON, None if it follows from the values."""


def to_pandas(data: pl.Series | pl.DataFrame, used: Collection[str]) -> pd.Series | pd.DataFrame:
    """Return the data with Python's values; columns of a DataFrame that are not used are empty."""
    if isinstance(data, pl.Series):
        return _values(data)
    empty = pd.Series([None] * data.height, dtype=object)
    return pd.DataFrame(
        {name: _values(data[name]) if name in used else empty for name in data.columns},
        index=pd.RangeIndex(data.height),
    )


def _values(column: pl.Series) -> pd.Series:
    return pd.Series(column.to_list(), dtype=object, name=column.name)


def from_pandas(
    result: pd.Series | pd.DataFrame, name: str, kind: Kind
) -> pl.Series | pl.DataFrame:
    """Return a result as a Series with the name ``name``, or as a DataFrame."""
    if isinstance(result, pd.DataFrame):
        return pl.DataFrame([_column(one, str(key), kind) for key, one in result.items()])
    return _column(result, name, kind)


def _column(column: pd.Series, name: str, kind: Kind) -> pl.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _labels(column, name)
    if column.dtype == object:
        return _json(column.tolist(), name, kind(name))
    if isinstance(column.dtype, pd.ArrowDtype):
        import pyarrow as pa  # type: ignore[import-untyped]

        values = pa.chunked_array(pa.array(column)).combine_chunks()
        # A copy, since Polars does not read slices of fixed-size lists.
        found = pl.from_arrow(values.take(pa.array(range(len(values)), pa.int64())))
        assert isinstance(found, pl.Series)
        return found.alias(name)
    return pl.from_pandas(column.reset_index(drop=True)).alias(name)


def _labels(column: pd.Series, name: str) -> pl.Series:
    """Return an Enum, or for labels that are not texts a column of their type."""
    labels = column.cat.categories.tolist()
    values = [None if pd.isna(value) else value for value in column.tolist()]
    if all(isinstance(label, str) for label in labels):
        return pl.Series(name, values, dtype=pl.Enum(labels))
    return pl.Series(name, values, dtype=pl.Series(labels, strict=False).dtype, strict=False)


def _json(values: list[Any], name: str, dtype: Dtype | None) -> pl.Series:
    values = [plain(value) for value in values]
    if dtype == pl.String:
        texts = [one if isinstance(one, str | None) else json.dumps(one) for one in values]
        return pl.Series(name, texts, dtype=pl.String)
    try:
        return pl.Series(name, values, dtype=dtype)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, values, dtype=pl.Object)


def plain(value: Any) -> Any:
    """Return an instance of a pydantic model or a dataclass as a dict, another value unchanged."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def fitted(column: pl.Series, dtype: Dtype) -> pl.Series:
    """Return a column with a dtype; a column of missing values may have any dtype before.

    Raises PolarsError if a value does not fit.
    """
    if column.dtype == dtype:
        return column
    if column.null_count() == len(column):
        return pl.Series(column.name, [None] * len(column), dtype=dtype)
    if isinstance(dtype, pl.Struct) and isinstance(column.dtype, pl.Struct):
        found = column.struct.unnest()
        missing = pl.Series([None] * len(column))
        parts = [
            fitted(
                found[field.name] if field.name in found.columns else missing, field.dtype
            ).alias(field.name)
            for field in dtype.fields
        ]
        return pl.DataFrame(parts).to_struct(column.name)
    return column.cast(dtype)
