"""``.ollama`` on Series and DataFrames of Dask: the questions of pandas, asked by the workers."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, Self

from dask.dataframe import extensions

from .partitions import OllamaRows


class DaskRows:
    """The questions of ``.ollama`` for each partition, with the arguments that they have there.

    Nothing is asked before the result is computed, but for the size of vectors.
    """

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self._where: dict[str, Any] = {}

    def at(self, *urls: str, token_variable: str | None = None) -> Self:
        """Return this with its questions spread over the servers at ``urls``.

        ``token_variable`` names the variable in the environment of the workers with the token of
        all servers; without it each gets the token that the environment has for its address.
        """
        other = copy.copy(self)
        other._where = {"endpoints": urls, "token_variable": token_variable}
        return other

    def chat(self, *arguments: Any, **more: Any) -> Any:
        """Return a model's answer for each row."""
        return self._lazily(OllamaRows("chat", *arguments, **self._where, **more))

    def extract(self, *arguments: Any, **more: Any) -> Any:
        """Return a column for each field of a schema."""
        return self._lazily(OllamaRows("extract", *arguments, **self._where, **more))

    def classify(self, *arguments: Any, **more: Any) -> Any:
        """Return the label of each row, or the probabilities of all labels."""
        return self._lazily(OllamaRows("classify", *arguments, **self._where, **more))

    def embed(self, *arguments: Any, **more: Any) -> Any:
        """Return the vector of each row. A row is embedded now, for the size of the vectors."""
        return self._lazily(OllamaRows("embed", *arguments, **self._where, **more))

    def _lazily(self, rows: OllamaRows) -> Any:
        meta = rows.meta(self._collection._meta_nonempty)
        # Bound here, since Dask would take a DataFrame among the arguments for one to align.
        return self._collection.map_partitions(partial(_asked, rows, meta), meta=meta)


def _asked(rows: OllamaRows, meta: Any, part: Any) -> Any:
    return rows.like(part, meta)


_dask: Any = extensions  # it tells no types
_dask.register_series_accessor("ollama")(DaskRows)
_dask.register_dataframe_accessor("ollama")(DaskRows)
