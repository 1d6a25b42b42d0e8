"""A row operator with its arguments, applied to data of Polars by way of a Plan."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from .. import accessor
from ..rows import columns
from ..rows import tasks as row_tasks
from ..rows.plan import Plan
from ..rows.registry import OPERATORS
from . import interrupt as polars_interrupt
from .columns import Dtype, fitted, from_pandas, to_pandas
from .gathered import Gathered
from .schema import json_dtype

_FIELD = re.compile(r"(?<!\{)\{(\w*)(?=[:}])")

Result = pl.Series | pl.DataFrame


@dataclass(frozen=True)
class PolarsCall:
    """A call of an operator. ``where`` has the servers, as ``at`` takes them."""

    operator: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    where: tuple[tuple[str, ...], str | None] = field(default=((), None))

    @cached_property
    def given(self) -> dict[str, Any]:
        """The arguments by name. Raises TypeError, and OllamaMagicsError for invalid ones."""
        OPERATORS[self.operator].bind(self.arguments, self.keywords)
        return OPERATORS[self.operator].signature.bind(*self.arguments, **self.keywords).arguments

    def plan(self, data: pl.Series | pl.DataFrame) -> Plan:
        """Return the Plan for data.

        With ``into``, its result has the new columns alone; the index has the numbers of the rows
        that an operator keeps.
        """
        return self._plan(self._to_pandas(data), self.given)

    def result(self, made: pd.Series | pd.DataFrame, name: str) -> Result:
        """Return what a Plan has made; ``name`` is the name of a single column."""
        return from_pandas(made, name, self._kind)

    def used(self, names: Collection[str]) -> list[str]:
        """Return the columns that an argument may name, all if none does."""
        texts = list(_texts(self.given.values()))
        return [one for one in names if any(one in text for text in texts)] or list(names)

    def expression(self, column: pl.Expr, empty: Result) -> pl.Expr:
        """Return the result as an expression; ``column`` may be a Struct with the columns.

        ``empty`` is a result without rows.
        """
        dtype = _single(empty, "").dtype
        gathered = Gathered(lambda data: polars_interrupt.run(self._plan(data, self.given)))

        def applied(part: pl.Series) -> pl.Series:
            data = part.struct.unnest() if isinstance(part.dtype, pl.Struct) else part
            made = gathered(self._to_pandas(data))
            return fitted(_single(self.result(made, part.name), part.name), dtype)

        # Rows do not depend on each other, so the optimizer may filter and slice before.
        return column.map_batches(applied, return_dtype=dtype, is_elementwise=True)

    def empty(self, names: Collection[str] | None = None) -> Result:
        """Return a result without rows, for a frame with these columns, or for any column.

        Its dtypes are known before the rows. No row is sent, except one short text where the
        columns depend on a response. Raises OllamaMagicsError if arguments do not fit the columns.
        """
        plan = self._plan_of(self.named() if names is None else names)
        if not plan.operator.columns_vary:
            made = plan.empty()
        else:
            plan = replace(plan, data=plan.data.reindex([0]), texts=["a"])
            dimensions = self.given.get("dimensions")
            made = _of_length(plan, dimensions) if dimensions else plan.run(progress=False)
        return self.result(made.iloc[:0], "")

    def keeps(self, names: Collection[str]) -> bool:
        """Return whether the result is some of the rows of a frame with these columns."""
        return self._plan_of(names).operator.keep is not None

    def _plan_of(self, names: Collection[str]) -> Plan:
        """Return the Plan for a frame without rows, or for a column if there are no names."""
        data: Any = pd.DataFrame({name: pd.Series(dtype=object) for name in names})
        return self._plan(data if names else pd.Series(dtype=object), self.given)

    def named(self) -> list[str]:
        """Return the columns that the prompt and the files name, [] for a prompt of one column."""
        prompt = self.given.get("prompt") or ""
        fields = _FIELD.findall(prompt)
        given = [self.given.get("images"), self.given.get("audio")]
        files = [one for one in _texts(given) if one]
        return [*dict.fromkeys([*fields, *files, prompt])] if files or set(fields) - {""} else []

    def _to_pandas(self, data: pl.Series | pl.DataFrame) -> pd.Series | pd.DataFrame:
        return to_pandas(data, self.used(data.columns) if isinstance(data, pl.DataFrame) else ())

    def _plan(self, data: pd.Series | pd.DataFrame, given: Mapping[str, Any]) -> Plan:
        kind: Any = accessor.SeriesRows if isinstance(data, pd.Series) else accessor.FrameRows
        rows = kind(data)
        urls, token_variable = self.where
        if urls:
            rows = rows.at(*urls, token_variable=token_variable)
        plan: Plan = rows.plan(self.operator, **given)
        if plan.into is None and plan.operator.keep is None:
            return plan
        return replace(plan, data=pd.DataFrame(index=plan.data.index))

    def _kind(self, name: str) -> Dtype | None:
        """Return the dtype of a column of JSON values, by the schema."""
        schema = self.given.get("schema")
        if schema is None:
            return None
        format = row_tasks.json_schema(schema)
        if self.operator == "chat":
            return json_dtype(format, format)
        fields = json_dtype(format, format)
        found = dict(fields) if isinstance(fields, pl.Struct) else {}
        return found.get(name.removeprefix(f"{self.given.get('into')}_"))


def _of_length(plan: Plan, dimensions: int) -> pd.Series | pd.DataFrame:
    """Return the result for one row with a vector of ``dimensions`` zeros."""
    made = plan.operator.columns([np.zeros(dimensions, np.float32)], plan.data.index, None)
    errors = [None] if plan.errors == "column" else None
    if plan.into is not None:
        return columns.assign(plan.data, made, errors, plan.into)
    return made if errors is None else columns.with_errors(made, errors)


def _single(made: Result, name: str) -> pl.Series:
    return made.to_struct(name) if isinstance(made, pl.DataFrame) else made


def _texts(values: Iterable[Any]) -> Iterable[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from _texts(value)
