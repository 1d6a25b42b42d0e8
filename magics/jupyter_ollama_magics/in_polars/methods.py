"""``.ollama`` on Polars: the row operators on Series, DataFrames, LazyFrames and expressions."""

from __future__ import annotations

import asyncio
import copy
from typing import Any, Self

import polars as pl
from jupyter_ollama_client.credentials import hidden_in

from ..failures import OllamaMagicsError
from ..rows.plan import Plan
from ..rows.registry import AsyncOperatorMethods, OperatorMethods
from . import interrupt as polars_interrupt
from .call import PolarsCall, Result


class _Placed(OperatorMethods):
    """Operators at the servers that ``at`` names."""

    _where: tuple[tuple[str, ...], str | None] = ((), None)

    def at(self, *urls: str, token_variable: str | None = None) -> Self:
        """Return these operators for the servers at ``urls``, which share the rows.

        Parameters
        ----------
        *urls : str
            The addresses of the servers.
        token_variable : str, optional
            The environment variable with the token of all servers. By default each server gets the
            token that the environment has for its address.

        Returns
        -------
        PolarsRows, LazyRows or ExpressionRows
            A copy of the operators.

        Examples
        --------
        >>> texts = pl.Series(["A cat sleeps", "Stocks fell"])
        >>> texts.ollama.at(url).embed(model="all-minilm").dtype
        Array(Float32, shape=(384,))
        """
        other = copy.copy(self)
        other._where = (tuple(map(hidden_in, urls)), token_variable)
        return other

    def _call(
        self, operator: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> PolarsCall:
        return PolarsCall(operator, arguments, keywords, self._where)


class PolarsRows(_Placed, AsyncOperatorMethods):
    """The operators on a Series or DataFrame, with the arguments that they have on pandas.

    The result is a Series or a DataFrame. ``into`` returns the data with the new columns.
    """

    def __init__(self, data: pl.Series | pl.DataFrame) -> None:
        self._data = data

    def _apply(self, operator: str, /, *arguments: Any, **keywords: Any) -> Any:
        call = self._call(operator, arguments, keywords)
        plan = call.plan(self._data)
        return self._finished(call, plan, plan.run())

    async def _apply_async(self, operator: str, /, *arguments: Any, **keywords: Any) -> Any:
        call = self._call(operator, arguments, keywords)
        plan = await asyncio.to_thread(call.plan, self._data)
        return self._finished(call, plan, await plan.run_async())

    def _finished(self, call: PolarsCall, plan: Plan, made: Any) -> Result:
        data = self._data
        if plan.into is None and plan.operator.keep is None:
            name = data.name if isinstance(data, pl.Series) else call.operator
            return call.result(made, name)
        kept: Result = data[made.index.tolist()]
        if not len(made.columns):
            return kept
        if isinstance(kept, pl.Series):
            kept = kept.alias(kept.name or "text").to_frame()
        return kept.with_columns(call.result(made, ""))

    def kept(self, call: PolarsCall) -> pl.DataFrame:
        """Return the rows that an operator keeps, inside of a query."""
        plan = call.plan(self._data)
        kept = self._finished(call, plan, polars_interrupt.run(plan))
        assert isinstance(kept, pl.DataFrame)
        return kept


class LazyRows(_Placed):
    """The operators on a LazyFrame: no row is sent before ``collect``.

    The schema of the result is known before, so the optimizer does its work: rows that a later
    filter on another column removes are not sent.
    """

    def __init__(self, frame: pl.LazyFrame) -> None:
        self._frame = frame

    def _apply(self, operator: str, /, *arguments: Any, **keywords: Any) -> pl.LazyFrame:
        call = self._call(operator, arguments, keywords)
        names = self._frame.collect_schema().names()
        empty, into = call.empty(names), call.given.get("into")
        if call.keeps(names):
            schema = {**self._frame.collect_schema(), **_columns(empty)}
            return self._frame.map_batches(lambda part: PolarsRows(part).kept(call), schema=schema)
        column = call.expression(pl.struct(call.used(names)), empty)
        take = self._frame.select if into is None else self._frame.with_columns
        if isinstance(empty, pl.Series):
            return take(column.alias(operator))
        new = empty.columns
        if into is not None and new == [into]:
            return take(column.struct.field(into).alias(into))
        place = "_".join(["ollama", *names, *new])
        old = [] if into is None else [name for name in new if name in names]
        return take(column.alias(place)).drop(old).unnest(place)


class ExpressionRows(_Placed):
    """The operators on an expression: a column of texts, or a Struct of the columns of a prompt.

    A result of several columns is a Struct. ``into`` is the name of the result.
    """

    def __init__(self, expression: pl.Expr) -> None:
        self._expression = expression

    def _apply(self, operator: str, /, *arguments: Any, **keywords: Any) -> pl.Expr:
        into = keywords.pop("into", None)
        call = self._call(operator, arguments, keywords)
        if call.keeps(call.named()):
            raise OllamaMagicsError(
                f'An expression has as many rows as its column: {operator}(…, returns="mask").'
            )
        column = call.expression(self._expression, call.empty())
        return column if into is None else column.alias(into)


def _columns(empty: Result) -> dict[str, pl.DataType]:
    return dict(empty.schema) if isinstance(empty, pl.DataFrame) else {}
