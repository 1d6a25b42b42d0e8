"""Tables and arrays of pandas, Polars and NumPy, described for a model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .literals import literal
from .static_types import comes_from, is_class, type_name
from .tokens import cut, estimate

ROWS = 3
MOST_VALUES = 500_000
"""The values among which missing ones are counted; more take longer than a person waits."""
OBJECT_COST = 20
"""A value of an object column costs as much as this many numbers."""
MOST_COLUMNS = 80
"""The columns that are read; of further ones the names are shown."""
MOST_NAMES = 400
LONGEST_VALUE = 40


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, its type, its first values, and how many are missing."""

    name: str
    dtype: str
    first: Sequence[str] = ()
    missing: int = 0

    def line(self) -> str:
        """Return the line of a description."""
        missing = f", {self.missing:,} missing" if self.missing else ""
        first = f": {', '.join(self.first)}" if self.first else ""
        return f"- {self.name}: {self.dtype}{missing}{first}"


def library_of(value: object) -> str:
    """Return "pandas", "polars" or "numpy" for a table or an array of that very type, else ""."""
    kind = type(value)
    for package, names in (
        ("pandas", ("DataFrame", "Series")),
        ("polars", ("DataFrame", "Series")),
        ("numpy", ("ndarray",)),
    ):
        if package in sys.modules and comes_from(kind, package) and type_name(kind) in names:
            return package
    return ""


def is_frame(value: object) -> bool:
    """Return whether a value is a DataFrame of pandas or Polars."""
    return type_name(type(value)) == "DataFrame" and bool(library_of(value))


def column_names(frame: Any, most: int = MOST_COLUMNS) -> list[str]:
    """Return the names of the first columns that are texts."""
    return [name for name in list(frame.columns[:most]) if type(name) is str]


def column_types(frame: Any, most: int) -> list[tuple[str, str]]:
    """Return (name, dtype) of the first columns of a frame whose names are texts."""
    if library_of(frame) == "polars":
        pairs = list(frame.schema.items())[:most]
    else:
        pairs = list(zip(frame.columns[:most], frame.dtypes.iloc[:most], strict=True))
    return [(name, describe_dtype(dtype)) for name, dtype in pairs if type(name) is str]


def describe(value: Any, tokens: int) -> str:
    """Return the type, shape, columns, first rows and missing values of a table or an array."""
    library = library_of(value)
    if library == "numpy":
        return cut(_array(value), tokens)
    head, columns = _of_polars(value) if library == "polars" else _of_pandas(value)
    labels = list(value.columns[:MOST_NAMES]) if is_frame(value) else []
    names = [_label(name) for name in labels[len(columns) :]]
    total = value.shape[1] if is_frame(value) else 1
    return _within(head, columns, names, total, tokens)


def _of_pandas(value: Any) -> tuple[list[str], list[Column]]:
    if type_name(type(value)) == "Series":
        columns = [value]
        head = f"pandas Series, {len(value):,} values"
    else:
        total = value.shape[1]
        columns = [value.iloc[:, at] for at in range(min(total, MOST_COLUMNS))]
        head = f"pandas DataFrame, {len(value):,} rows x {total:,} columns"
    weight = sum(OBJECT_COST if _holds_objects(one) else 1 for one in columns)
    sampled = min(len(value), MOST_VALUES // max(weight, 1))
    step = -(-len(value) // sampled) if sampled else 1
    lines = [f"{head}, index: {_index(value.index)}", _legend(step, len(value))]
    return lines, [_pandas_column(one, step) for one in columns]


def _pandas_column(column: Any, step: int) -> Column:
    name, dtype = _label(column.name), column.dtype
    # An extension type of the user may run anything to read a value.
    if not comes_from(type(dtype), "numpy", "pandas"):
        return Column(name, describe_dtype(dtype))
    first = [literal(one, LONGEST_VALUE) for one in column.iloc[:ROWS].tolist()]
    sample = column.iloc[::step] if step > 1 else column
    if _holds_objects(column):
        missing = _count_missing(sample.to_numpy())
    else:
        missing = int(sample.isna().sum())
    return Column(name, describe_dtype(dtype), first, missing)


def _holds_objects(column: Any) -> bool:
    return bool(comes_from(type(column.dtype), "numpy") and column.dtype.hasobject)


def _count_missing(values: Any) -> int:
    """Return how many objects are no value. pandas's own test reads ``__class__`` of objects."""
    library = sys.modules["pandas"]
    no_time, no_value = library.NaT, library.NA
    return sum(
        1
        for one in values
        if one is None or one is no_value or one is no_time or (type(one) is float and one != one)
    )


def _index(index: Any) -> str:
    kind = type_name(type(index))
    if not comes_from(type(index), "pandas") or kind == "RangeIndex":
        return kind
    first = ", ".join(literal(one, LONGEST_VALUE) for one in index[:ROWS].tolist())
    names = [_label(name) for name in list(index.names)[:ROWS] if name is not None]
    return f"{kind} {', '.join(names)} [{first}{', …' if len(index) > ROWS else ''}]"


def _of_polars(value: Any) -> tuple[list[str], list[Column]]:
    if type_name(type(value)) == "Series":
        value, head = value.to_frame(), f"Polars Series, {len(value):,} values"
    else:
        head = f"Polars DataFrame, {value.height:,} rows x {value.width:,} columns"
    shown = value[:, :MOST_COLUMNS]
    rows = shown.head(ROWS).rows()
    missing = shown.null_count().row(0) if shown.width else ()
    columns = [
        Column(
            _label(name),
            describe_dtype(dtype),
            [literal(row[at], LONGEST_VALUE) for row in rows],
            missing[at],
        )
        for at, (name, dtype) in enumerate(shown.schema.items())
    ]
    return [head, _legend(1, value.height)], columns


def _array(value: Any) -> str:
    first = ", ".join(literal(one, LONGEST_VALUE) for one in value.flat[: 2 * ROWS].tolist())
    more = ", …" if value.size > 2 * ROWS else ""
    shape = " x ".join(f"{size:,}" for size in value.shape) or "scalar"
    return f"NumPy array, {shape}, {describe_dtype(value.dtype)}\nfirst values: {first}{more}"


def _label(name: object) -> str:
    """Return the name of a column as a model should write it."""
    return str(name) if type(name) is str and name.isprintable() and name else literal(name)


def describe_dtype(dtype: object) -> str:
    """Return the name of a dtype, in angle brackets if it is one of the user."""
    kind = type(dtype)
    if type_name(kind) == "CategoricalDtype" and comes_from(kind, "pandas"):
        return "category"
    # Types of Polars may also be classes.
    known = comes_from(kind, "numpy", "pandas", "polars") or (
        is_class(dtype) and comes_from(dtype, "polars")
    )
    return cut(str(dtype), 40) if known else f"<{type_name(kind)}>"


def _legend(step: int, rows: int) -> str:
    sampled = f" among {-(-rows // step):,} sampled rows" if step > 1 else ""
    return f"columns, their dtypes, missing values{sampled}, and the first {ROWS} rows:"


def _within(
    head: list[str], columns: list[Column], further: list[str], total: int, tokens: int
) -> str:
    """Join the lines of a table; columns without a line of their own are named while they fit."""
    lines = [column.line() for column in columns]
    if total == len(columns) and estimate("\n".join([*head, *lines])) <= tokens:
        return "\n".join([*head, *lines])
    shown = 0
    # A fifth is for the names of the columns that have no line of their own.
    left = tokens * 4 // 5 - estimate("\n".join(head))
    for line in lines:
        left -= estimate(line) + 1
        if left < 0:
            break
        shown += 1
    names = ", ".join([*(column.name for column in columns[shown:]), *further])
    rest = cut(f"and {total - shown:,} more columns: {names}", tokens // 5 - 5)
    return "\n".join([*head, *lines[:shown], rest])
