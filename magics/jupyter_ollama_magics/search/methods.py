"""The methods ``similar`` and ``index`` of the accessors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ..rows import columns
from ..rows.similar import nearest
from ..servers import Servers
from . import opening
from .index import SearchIndex
from .opening import CHUNK_TOKENS, OVERLAP


class SeriesSearch:
    """``similar`` of a Series."""

    _data: Any

    def similar(
        self, query: str, k: int = 5, model: str | None = None, *, prefix: str | None = None
    ) -> pd.DataFrame:
        """Return the ``k`` rows nearest to ``query`` and their cosine similarity, best first.

        Parameters
        ----------
        query : str
            The text to compare with.
        k : int
            The number of rows.
        model : str, optional
            The embedding model; the one that made the vectors, if the rows are vectors.
        prefix : str, optional
            The text before the query; by default the one that the model expects. Rows of texts get
            the model's prefix for documents. Make vectors by ``embed(kind="document")``.

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
        return nearest(columns.named_frame(self._data), self._data, query, k, model, prefix)


class FrameSearch:
    """``similar`` and ``index`` of a DataFrame."""

    _data: Any
    _servers: Callable[[], Servers]

    def similar(
        self,
        query: str,
        column: Any,
        k: int = 5,
        model: str | None = None,
        *,
        prefix: str | None = None,
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
        prefix : str, optional
            The text before the query; by default the one that the model expects. Rows of texts get
            the model's prefix for documents. Make vectors by ``embed(kind="document")``.

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
        return nearest(self._data, self._column(column), query, k, model, prefix)

    def index(
        self,
        column: Any,
        path: str | Path | None = None,
        model: str | None = None,
        *,
        chunk_tokens: int = CHUNK_TOKENS,
        overlap: int = OVERLAP,
        query_prefix: str | None = None,
        document_prefix: str | None = None,
    ) -> SearchIndex:
        """Return an index that finds rows by the meaning and the words of a column.

        The index of a file that exists is brought up to date: only texts that it lacks are
        embedded, and rows that are gone from the data are removed. What is embedded is kept, even
        if the process is killed. Long texts are cut into chunks.

        Parameters
        ----------
        column : hashable
            The name of a column of texts.
        path : str or Path, optional
            A DuckDB file, which may have tables of its own. By default the index is in memory.
        model : str, optional
            The embedding model.
        chunk_tokens, overlap : int
            The most tokens of a chunk, and the most of them that the next chunk repeats.
        query_prefix, document_prefix : str, optional
            The texts before each query and each chunk; by default those that the model expects.

        Returns
        -------
        SearchIndex
            The index; see its method ``search``.

        Raises
        ------
        OllamaMagicsError
            If the column holds other values than texts, the file has no index and is no DuckDB
            file, duckdb or pyarrow is missing, or a request fails.
        IndexInterrupted
            If the kernel is interrupted. The same call continues with the remaining texts.

        Examples
        --------
        >>> frame = pd.DataFrame({"id": [7, 8], "text": ["Stocks fell today", "A cat sleeps"]})
        >>> index = frame.ollama.index("text", model="all-minilm")
        >>> index.search("a kitten", k=1)["id"].tolist()
        [8]
        """
        return opening.build(
            self._data,
            self._column(column),
            path,
            self._servers,
            model=model,
            chunk_tokens=chunk_tokens,
            overlap=overlap,
            query_prefix=query_prefix,
            document_prefix=document_prefix,
        )

    def _column(self, name: Any) -> pd.Series:
        raise NotImplementedError
