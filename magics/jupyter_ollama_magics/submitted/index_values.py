"""The index of a DataFrame as JSON, and back with its dtypes."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..failures import OllamaMagicsError

PLAIN = (str, int, float, bool, type(None))
"""The values that JSON holds as they are."""


def as_json(index: pd.Index) -> dict[str, Any]:
    """Return an index as a JSON object. Raises OllamaMagicsError for values that JSON lacks."""
    if isinstance(index, pd.RangeIndex):
        return {"name": _name(index), "range": [index.start, index.stop, index.step]}
    if isinstance(index, pd.MultiIndex):
        levels = [index.get_level_values(level) for level in range(index.nlevels)]
        return {"levels": [as_json(level) for level in levels]}
    return {"name": _name(index), "dtype": str(index.dtype), "values": _values(index)}


def from_json(found: dict[str, Any]) -> Any:
    """Return the index of a JSON object."""
    if "levels" in found:
        levels = [from_json(level) for level in found["levels"]]
        return pd.MultiIndex.from_arrays(levels, names=[level.name for level in levels])
    if "range" in found:
        start, stop, step = found["range"]
        return pd.RangeIndex(start, stop, step, name=found["name"])
    values, dtype, name = found["values"], found["dtype"], found["name"]
    if dtype.startswith("datetime64"):
        times = pd.to_datetime(pd.Series(values, dtype=object), utc="," in dtype)
        return pd.DatetimeIndex(times, name=name).astype(dtype)
    if dtype.startswith("timedelta64"):
        return pd.TimedeltaIndex(values, name=name).astype(dtype)
    if dtype == "category":
        return pd.CategoricalIndex(values, name=name)
    return pd.Index(values, dtype=dtype, name=name)


def _values(index: pd.Index) -> list[Any]:
    kind = str(index.dtype)
    if kind.startswith(("datetime64", "timedelta64")):
        return [None if pd.isna(value) else str(value) for value in index]
    values = [None if _is_missing(value) else value for value in index.tolist()]
    for value in values:
        if type(value) not in PLAIN:
            raise OllamaMagicsError(
                f"the index has values of the type {type(value).__name__}, which a job cannot "
                "keep: call reset_index() first."
            )
    return values


def _is_missing(value: Any) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _name(index: pd.Index) -> Any:
    return index.name if type(index.name) in PLAIN else str(index.name)
