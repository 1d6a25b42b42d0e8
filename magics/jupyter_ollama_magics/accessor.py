"""``.ollama`` on Series and DataFrames: models over rows.

Equal rows are sent once, and several requests run at a time. The result has the order and the index
of the data, and missing values stay missing. The operators are in ``operators``.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd
from jupyter_ollama_client.credentials import hidden_in

from . import (
    columns,
    groups,
    operators,  # noqa: F401 - defines the operators
    pdf_pages,
    row_prompt,
    row_texts,
    vector_files,
)
from .disk_cache import default_path
from .failures import OllamaMagicsError
from .media_rows import FileRows
from .plan import Plan
from .rank_methods import Ranks
from .row_operator import OPERATORS, AsyncOperatorMethods
from .servers import Servers
from .similar import nearest

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
        asked, shared = OPERATORS[operator].bind(arguments, keywords)
        prompt, cache = shared.pop("prompt"), shared.pop("cache")
        files = {kind: shared.pop(kind) for kind in ("images", "audio")}
        if not isinstance(cache, bool | str | Path):
            raise OllamaMagicsError("cache is True, False or the name of a file.")
        file = default_path() if cache is True else Path(cache) if cache else None
        named = {kind: value for kind, value in files.items() if value not in (None, False)}
        rows = FileRows(self._data, named, by_content=file is not None) if named else None
        fill = rows.fill if rows else self._fill
        question, texts = row_prompt.resolved(asked, self._data, prompt, fill)
        question = rows.operator(question) if rows else question
        return Plan(question, self._data, texts, self._servers, cache=file, **shared)

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
class SeriesRows(_Rows):
    """Models over the texts of a Series."""

    def __init__(self, series: pd.Series) -> None:
        self._data: pd.Series = series

    def similar(self, query: str, k: int = 5, model: str | None = None) -> pd.DataFrame:
        """Return the ``k`` rows nearest to ``query`` and their cosine similarity, best first.

        Parameters
        ----------
        query : str
            The text to compare with.
        k : int
            The number of rows.
        model : str, optional
            The embedding model; the one that made the vectors, if the rows are vectors.

        Returns
        -------
        DataFrame
            The rows, with the column "similarity".

        Raises
        ------
        OllamaMagicsError
            If the rows are neither texts nor vectors of ``embed``, or the query's vector has
            another length than theirs.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", None, "Stocks fell today", "The kitten naps"])
        >>> texts.ollama.similar("a sleeping cat", k=2, model="all-minilm").index.tolist()
        [0, 3]
        """
        return nearest(columns.named_frame(self._data), self._data, query, k, model)

    def cluster(self, k: int = 8, model: str | None = None, *, seed: int = 0) -> pd.Series:
        """Return the number of each row's group, by spherical k-means on the vectors.

        Parameters
        ----------
        k : int
            The number of groups.
        model : str, optional
            The embedding model, if the rows are texts.
        seed : int
            The seed of the random start.

        Returns
        -------
        Series of Int64
            0 is the largest group. Missing values stay missing.

        Raises
        ------
        OllamaMagicsError
            If ``k`` is not a positive integer, or the rows are neither texts nor vectors.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", "The kitten naps", "The cat dozes", "Stocks fell"])
        >>> texts.ollama.cluster(2, "all-minilm").tolist()
        [0, 0, 0, 1]
        """
        return groups.cluster(self._data, k, model, seed)

    def map2d(
        self,
        model: str | None = None,
        *,
        k: int | None = None,
        plot: bool = False,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Return a point on the plane for each row; rows of similar meaning are near each other.

        The coordinates are the two main components of the vectors.

        Parameters
        ----------
        model : str, optional
            The embedding model, if the rows are texts.
        k : int, optional
            Add the column "cluster" with one of ``k`` groups.
        plot : bool
            Draw the points, too; needs matplotlib.
        seed : int
            The seed of the random start of ``k`` groups.

        Returns
        -------
        DataFrame
            The columns "x" and "y", NaN where the row is missing.

        Raises
        ------
        OllamaMagicsError
            If ``k`` is not a positive integer, the rows are neither texts nor vectors, or
            matplotlib is not installed.

        Examples
        --------
        >>> texts = pd.Series(["A cat sleeps", None, "The kitten naps", "Stocks fell"])
        >>> texts.ollama.map2d("all-minilm", k=2).columns.tolist()
        ['x', 'y', 'cluster']
        """
        return groups.map2d(self._data, model, k, plot, seed)

    def pages(
        self,
        as_: Literal["text", "picture"] = "text",
        *,
        dpi: int = 150,
        errors: Literal["raise", "coerce"] = "raise",
    ) -> pd.DataFrame:
        """Return a row for each page of the PDF files of the Series; needs pypdfium2.

        Parameters
        ----------
        as_ : {"text", "picture"}
            What is returned of a page. A picture is drawn when it is sent or shown.
        dpi : int
            The resolution of pictures, in pixels an inch.
        errors : {"raise", "coerce"}
            Whether a file that cannot be read is an error, or one row without a page.

        Returns
        -------
        DataFrame
            The columns "document" (the path, or the label of bytes), "page" (from 1), and "text" or
            "picture". The text of a page without any, such as a scan, is missing.

        Raises
        ------
        OllamaMagicsError
            If a value is not a PDF, or pypdfium2 is not installed.

        Examples
        --------
        >>> from io import BytesIO
        >>> from PIL import Image
        >>> file = BytesIO()
        >>> Image.new("RGB", (200, 100)).save(file, "PDF")
        >>> pages = pd.Series([file.getvalue()], ["scan"]).ollama.pages("picture")
        >>> pages[["document", "page"]].values.tolist()
        [['scan', 1]]
        """
        return pdf_pages.pages(self._data, as_, dpi, errors)

    def _texts(self, prompt: str | None) -> list[str | None]:
        if prompt is None:
            return row_texts.column_texts(self._data, ".ollama")
        fields = {"text": self._data, "": self._data}
        if isinstance(self._data.name, str):
            fields[self._data.name] = self._data
        return row_texts.fill_template(prompt, fields, "text")


@pd.api.extensions.register_dataframe_accessor("ollama")
class FrameRows(_Rows):
    """Models over the rows of a DataFrame. A prompt may also be the name of a column of texts."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._data: pd.DataFrame = frame

    def similar(
        self, query: str, column: Any, k: int = 5, model: str | None = None
    ) -> pd.DataFrame:
        """Return the ``k`` rows whose ``column`` is nearest to ``query``, best first.

        Parameters
        ----------
        query : str
            The text to compare with.
        column : hashable
            The name of a column of texts, or of vectors of ``embed``.
        k : int
            The number of rows.
        model : str, optional
            The embedding model; the one that made the vectors, if the column holds vectors.

        Returns
        -------
        DataFrame
            The rows, with the column "similarity" of cosine similarities.

        Raises
        ------
        OllamaMagicsError
            If the column does not exist or holds other values, or the query's vector has another
            length.

        Examples
        --------
        >>> frame = pd.DataFrame({"id": [7, 8], "text": ["Stocks fell today", "A cat sleeps"]})
        >>> frame.ollama.similar("a kitten", "text", k=1, model="all-minilm")["id"].tolist()
        [8]
        """
        return nearest(self._data, self._column(column), query, k, model)

    def _texts(self, prompt: str | None) -> list[str | None]:
        if prompt is None:
            raise OllamaMagicsError("Give a prompt with a {column} in it, or a column's name.")
        if isinstance(prompt, Hashable) and prompt in self._data.columns:
            return row_texts.column_texts(self._column(prompt), ".ollama")
        fields = {str(name): self._data.iloc[:, at] for at, name in enumerate(self._data)}
        return row_texts.fill_template(prompt, fields, None)

    def _column(self, name: Any) -> pd.Series:
        """Return a column. Raises OllamaMagicsError if none or several have the name."""
        count = int((self._data.columns == name).sum())
        if count != 1:
            known = ", ".join(map(str, self._data.columns))
            number = f"{count} columns" if count else "no column"
            raise OllamaMagicsError(f"The DataFrame has {number} {name}. It has {known or 'none'}.")
        column: pd.Series = self._data[name]
        return column
