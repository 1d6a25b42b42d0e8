"""``.ollama`` on Series and DataFrames: models over rows.

Equal rows are sent once, and several requests run at a time. The result has the order and the index
of the data, and missing values stay missing. The operators are in ``operators``.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
from jupyter_ollama_client.credentials import hidden_in

from .failures import OllamaMagicsError
from .operators import plain as operators  # noqa: F401 - defines the operators
from .operators.media import FileRows
from .rows import prompt as row_prompt
from .rows import report as row_report
from .rows import texts as row_texts
from .rows import vector_files
from .rows.disk_cache import cache_file
from .rows.estimate import RowEstimate
from .rows.pdf_pages import PdfMethods
from .rows.plan import Plan
from .rows.registry import AsyncOperatorMethods, named
from .rows.report import RowReport
from .search.methods import FrameSearch, SeriesSearch
from .servers import Servers
from .tables.agg_methods import FrameAggregates, SeriesAggregates
from .tables.call import column_of
from .tables.join_methods import Joins
from .tables.likeness_methods import FrameLikeness, SeriesLikeness
from .tables.map_methods import FrameMaps, SeriesMaps
from .tables.rank_methods import Ranks
from .tables.topic_methods import FrameTopics, SeriesTopics

if TYPE_CHECKING:
    from .submitted.job import Job

vector_files.register()


class _Rows(AsyncOperatorMethods, Ranks):
    """The operators on pandas; a subclass makes the texts of the rows."""

    _data: pd.Series | pd.DataFrame
    _servers: Callable[[], Servers] = staticmethod(Servers.find)

    def at(self, *urls: str, token_variable: str | None = None) -> Self:
        """Return this accessor for the servers at ``urls``, which share the rows.

        The servers need the same model. When one is lost, the others take its rows.

        Parameters
        ----------
        *urls : str
            The addresses of the servers.
        token_variable : str, optional
            The environment variable with the token of all servers. By default each server gets the
            token that the environment has for its address.

        Returns
        -------
        SeriesRows or FrameRows
            A copy of the accessor.

        Raises
        ------
        OllamaMagicsError
            If there is no address.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", "Stocks fell"])
        >>> texts.ollama.at(url).embed(model="all-minilm", expand=True).shape
        (2, 384)
        """
        if not urls or not all(isinstance(url, str) for url in urls):
            raise OllamaMagicsError('at needs addresses: .at("http://a:11434", "http://b:11434").')
        other = copy.copy(self)
        addresses = tuple(map(hidden_in, urls))
        other._servers = partial(Servers.at, addresses, token_variable)
        return other

    def plan(self, operator: str, /, *arguments: Any, **keywords: Any) -> Plan:
        """Return the Plan of an operator. No request is sent before the Plan runs.

        Parameters
        ----------
        operator : str
            The name of the operator.
        *arguments, **keywords
            The arguments of its method.

        Returns
        -------
        Plan
            The checked call.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid.

        Examples
        --------
        >>> plan = pd.Series(["yes", None]).ollama.plan("classify", ["yes", "no"], model="smollm2")
        >>> plan.texts
        ['yes', None]
        """
        asked, shared = named(operator).bind(arguments, keywords)
        prompt, file = shared.pop("prompt"), cache_file(shared.pop("cache"))
        files = {kind: shared.pop(kind) for kind in ("images", "audio")}
        files = {kind: value for kind, value in files.items() if value not in (None, False)}
        rows = FileRows(self._data, files, by_content=file is not None) if files else None
        fill = rows.fill if rows else self._fill
        question, texts = row_prompt.resolved(asked, self._data, prompt, fill)
        question = rows.operator(question) if rows else question
        return Plan(question, self._data, texts, self._servers, cache=file, name=operator, **shared)

    def estimate(self, operator: str, /, *arguments: Any, **keywords: Any) -> RowEstimate:
        """Return what a call of an operator will do and cost, before it runs.

        The first 20 distinct rows without a known answer are sent and measured. Their answers are
        kept in the cache of the call, else in memory, so the call does not send them again.

        Parameters
        ----------
        operator : str
            The name of the operator.
        *arguments, **keywords
            The arguments of its method, with one model.

        Returns
        -------
        RowEstimate
            The numbers of rows, and about the tokens and seconds of the rows that are not known.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, or one of the rows fails with ``errors="raise"``.

        Examples
        --------
        >>> texts = pd.Series([f"A cat of {age} years" for age in range(100)])
        >>> texts.ollama.estimate("embed", model="all-minilm").remaining
        80
        >>> vectors = texts.ollama.embed(model="all-minilm")
        >>> texts.ollama.last_report().resumed
        20
        """
        return self.plan(operator, *arguments, **keywords).estimate()

    def submit(self, operator: str, /, *arguments: Any, **keywords: Any) -> Job:
        """Have the server answer a call in the background, and return its job.

        The kernel may be shut down meanwhile: ``Job.load`` finds the job again. The rows wait for
        all other requests of their user. The server must be jupyter_ollama.

        Parameters
        ----------
        operator : str
            The name of an operator, or a prompt for ``chat``.
        *arguments, **keywords
            The arguments of the operator's method. ``errors`` is "column" unless it is given.

        Returns
        -------
        Job
            The job. Its ``frame()`` returns the answers with the index of the rows.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid or cannot be kept by a job, or the server refuses it.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", None, "Stocks fell"], index=["a", "b", "c"])
        >>> job = texts.ollama.submit("classify", ["pet", "money"], model="smollm2")
        >>> job.wait().status
        'completed'
        >>> job.frame()["answer"].notna().to_dict()
        {'a': True, 'b': False, 'c': True}
        """
        from .submitted.submission import submit

        return submit(self.plan, operator, arguments, keywords)

    def last_report(self) -> RowReport:
        """Return the report of the last call of an operator in this process, whatever its data.

        The attribute ``attrs["ollama"]`` of a result has the same fields. It stays with the result
        and with rows taken from it, and is written to Parquet, but not assigned with a column.

        Returns
        -------
        RowReport
            The numbers of rows, requests, tokens and failures, the seconds and the model.

        Raises
        ------
        OllamaMagicsError
            If no call has finished yet.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", None, "A cat sleeps"])
        >>> vectors = texts.ollama.embed(model="all-minilm")
        >>> report = texts.ollama.last_report()
        >>> report.rows, report.missing, report.distinct, report.calls, report.failures
        (3, 1, 1, 1, 0)
        >>> vectors.attrs["ollama"] == report.as_dict()
        True
        """
        return row_report.last()

    def _apply(self, operator: str, /, *arguments: Any, **keywords: Any) -> Any:
        return self.plan(operator, *arguments, **keywords).run()

    async def _apply_async(self, operator: str, /, *arguments: Any, **keywords: Any) -> Any:
        plan = await asyncio.to_thread(self.plan, operator, *arguments, **keywords)
        return await plan.run_async()

    def _fill(self, data: Any, prompt: str | None) -> list[str | None]:
        """Return the texts of other rows with the same columns."""
        other = copy.copy(self)
        other._data = data
        return other._texts(prompt)

    def _texts(self, prompt: str | None) -> list[str | None]:
        raise NotImplementedError


@pd.api.extensions.register_series_accessor("ollama")
class SeriesRows(
    _Rows,
    SeriesSearch,
    SeriesAggregates,
    Joins,
    SeriesLikeness,
    SeriesTopics,
    SeriesMaps,
    PdfMethods,
):
    """Models over the texts of a Series."""

    def __init__(self, series: pd.Series) -> None:
        self._data: pd.Series = series

    def _texts(self, prompt: str | None) -> list[str | None]:
        if prompt is None:
            return row_texts.column_texts(self._data, ".ollama")
        fields = {"text": self._data, "": self._data}
        if isinstance(self._data.name, str):
            fields[self._data.name] = self._data
        return row_texts.fill_template(prompt, fields, "text")


@pd.api.extensions.register_dataframe_accessor("ollama")
class FrameRows(_Rows, FrameSearch, FrameAggregates, Joins, FrameLikeness, FrameTopics, FrameMaps):
    """Models over the rows of a DataFrame. A prompt may also be the name of a column of texts."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._data: pd.DataFrame = frame

    def _texts(self, prompt: str | None) -> list[str | None]:
        if prompt is None:
            raise OllamaMagicsError("Give a prompt with a {column} in it, or a column's name.")
        if isinstance(prompt, Hashable) and prompt in self._data.columns:
            return row_texts.column_texts(self._column(prompt), ".ollama")
        fields = {str(name): self._data.iloc[:, at] for at, name in enumerate(self._data)}
        return row_texts.fill_template(prompt, fields, None)

    def _column(self, name: Any) -> pd.Series:
        """Return a column. Raises OllamaMagicsError if none or several have the name."""
        return column_of(self._data, name)
