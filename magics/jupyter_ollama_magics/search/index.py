"""``df.ollama.index``: rows that are found by the meaning and the words of a column."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Integral
from typing import Any

import pandas as pd

from ..failures import OllamaMagicsError
from ..servers import Servers
from .build import Builder, Wanted
from .embedding import query_vector, relevance
from .hits import Hit, Query, by_both, by_meaning
from .index_file import IndexChanged, IndexFile, Settings
from .loaded import Loaded

RERANKED = 50
"""The texts that a ranking model scores, or more if more rows are wanted."""
ATTEMPTS = 5


class SearchIndex:
    """An index of the texts of a column, made by ``.ollama.index`` or opened by ``open_index``.

    It is kept in a DuckDB file, which several kernels may use, or in memory. Vectors are in memory
    from the first search on.

    Attributes
    ----------
    settings : Settings
        The model, its prefixes, and the sizes of the chunks.

    Examples
    --------
    >>> notes = pd.DataFrame({"text": ["A cat sleeps", "Stocks fell"], "year": [2020, 2021]})
    >>> index = notes.ollama.index("text", model="all-minilm")
    >>> index.search("kitten", k=1)["text"].tolist()
    ['A cat sleeps']
    """

    def __init__(
        self,
        file: IndexFile,
        servers: Callable[[], Servers],
        settings: Settings,
        wanted: Wanted | None = None,
    ) -> None:
        self.settings = settings
        self._wanted = wanted
        self._file = file
        self._servers = servers
        self._loaded: Loaded | None = None
        self._stamp: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(set(self.loaded().row_positions.tolist()))

    def __repr__(self) -> str:
        place = self._file.database.path or "memory"
        return f"<index of {self.settings.column} by {self.settings.model} in {place}>"

    def search(
        self,
        query: str,
        k: int = 5,
        *,
        where: str | None = None,
        hybrid: bool = False,
        rerank: str | None = None,
        exact: bool = False,
    ) -> pd.DataFrame:
        """Return the ``k`` rows that fit a query best, best first.

        Parameters
        ----------
        query : str
            A question or a few words.
        k : int
            The number of rows.
        where : str, optional
            An SQL condition on the columns; only rows that fulfil it are searched.
        hybrid : bool
            Rank by shared words (BM25), too, and fuse both ranks. Needs bm25s.
        rerank : str, optional
            A model that ranks: it scores the best 50 texts again.
        exact : bool
            Compare the query with each vector. An index of more than 175,000 chunks of 384
            dimensions otherwise compares estimates first, which misses less than 1 % of the best
            rows.

        Returns
        -------
        DataFrame
            The rows with the columns "score", by which they are ranked, "similarity" (cosine),
            "bm25" and "rerank" where these were used, and "chunk", the part of the text that fits
            best. A name that the data has already gets a "_" at its end.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, the condition fails, or the server refuses a request.

        Examples
        --------
        >>> notes = pd.DataFrame({"text": ["A cat sleeps", "A cat ate"], "year": [2020, 2021]})
        >>> index = notes.ollama.index("text", model="all-minilm")
        >>> index.search("kitten", where="year > 2020", hybrid=True)["text"].tolist()
        ['A cat ate']
        """
        if not isinstance(query, str) or not query.strip():
            raise OllamaMagicsError("The query is a text of at least one word.")
        if not isinstance(k, Integral) or k < 1:
            raise OllamaMagicsError("k is a positive integer, the number of rows.")
        vector = query_vector(self._servers(), self.settings, query)
        for _ in range(ATTEMPTS):
            try:
                loaded = self.loaded()
                positions = None if where is None else self._file.where(where, loaded.generation)
                asked = Query(query, vector, positions, exact)
                count = max(RERANKED, int(k)) if rerank else int(k)
                hits = (by_both if hybrid else by_meaning)(loaded, asked, count)
                if rerank:
                    hits = self._reranked(loaded, hits, query, rerank)
                return self._rows(loaded, asked, hits, int(k))
            except IndexChanged:
                continue
        raise OllamaMagicsError("Another kernel keeps changing the index: search again later.")

    def update(self, frame: pd.DataFrame) -> SearchIndex:
        """Replace the rows of the index by those of ``frame``; only new texts are embedded.

        Parameters
        ----------
        frame : DataFrame
            The rows, with the column of the index.

        Returns
        -------
        SearchIndex
            The index itself.

        Raises
        ------
        OllamaMagicsError
            If the column is missing or holds other values than texts, or a request fails.

        Examples
        --------
        >>> notes = pd.DataFrame({"text": ["A cat sleeps", "Stocks fell"]})
        >>> index = notes.ollama.index("text", model="all-minilm")
        >>> len(index.update(notes[1:]))
        1
        """
        names = [name for name in frame.columns if str(name) == self.settings.column]
        if len(names) != 1:
            raise OllamaMagicsError(f"The data has no single column {self.settings.column}.")
        settings = self.settings
        wanted = self._wanted or Wanted(
            settings.column,
            settings.model,
            settings.query_prefix,
            settings.document_prefix,
            settings.chunk_tokens,
            settings.overlap,
        )
        builder = Builder(self._file, self._servers(), wanted)
        self.settings = builder.update(frame, frame[names[0]])
        self.embedded = builder.embedded
        return self

    embedded: int = 0
    """The number of texts that the last update embedded."""

    def loaded(self) -> Loaded:
        """Return the vectors, read again if another kernel has changed the rows."""
        stamp = self._file.database.stamp()
        if self._loaded is None or stamp != self._stamp or not stamp:
            generation = self._file.generation()
            if self._loaded is None or generation != self._loaded.generation:
                self._loaded = Loaded.read(self._file)
            self._stamp = stamp
        return self._loaded

    def rows(self, positions: Iterable[int]) -> pd.DataFrame:
        """Return rows of the data by their positions, as `loaded` numbers them."""
        return self._file.rows(positions, self.loaded().generation)

    def _reranked(self, loaded: Loaded, hits: list[Hit], query: str, model: str) -> list[Hit]:
        if not isinstance(model, str):
            raise OllamaMagicsError("rerank is the name of a model that ranks.")
        if not hits:
            return hits
        texts = loaded.chunk_texts([hit.chunk for hit in hits])
        scores = relevance(self._servers(), model, query, texts)
        for hit, score in zip(hits, scores, strict=True):
            hit.score = hit.rerank = score
        return sorted(hits, key=lambda hit: -hit.score)

    def _rows(self, loaded: Loaded, query: Query, hits: list[Hit], k: int) -> pd.DataFrame:
        allowed = None if query.positions is None else set(query.positions.tolist())
        found = [
            (position, hit)
            for hit in hits
            for position in loaded.positions(hit.text).tolist()
            if allowed is None or position in allowed
        ][:k]
        chunks = dict.fromkeys(hit.chunk for _, hit in found)
        texts = dict(zip(chunks, loaded.chunk_texts(list(chunks)), strict=True))
        frame = self._file.rows((position for position, _ in found), loaded.generation)
        parts: dict[str, list[Any]] = {
            "score": [hit.score for _, hit in found],
            "similarity": [hit.similarity for _, hit in found],
            "bm25": [hit.bm25 for _, hit in found],
            "rerank": [hit.rerank for _, hit in found],
        }
        for name, values in parts.items():
            if name in ("score", "similarity") or any(value is not None for value in values):
                frame = _with_column(frame, name, pd.array(values, dtype="float64"))
        return _with_column(frame, "chunk", [texts[hit.chunk] for _, hit in found])


def _with_column(frame: pd.DataFrame, name: str, values: Any) -> pd.DataFrame:
    while name in frame.columns:
        name += "_"
    return frame.assign(**{name: values})
