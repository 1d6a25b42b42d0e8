"""``.ollama`` on Series and DataFrames of Dask: the row operators, applied by the workers."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any, Self

from dask.dataframe import extensions, utils

from .partitions import OllamaRows
from .rows.registry import OperatorMethods

# Dask's functions have no types.
_extensions: Any = extensions
_utils: Any = utils


class DaskRows(OperatorMethods):
    """The operators for each partition, with the arguments that they have on pandas.

    The result is lazy: no request is sent before it is computed, except one row of ``embed``, from
    which the length of the vectors follows.
    """

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self._where: dict[str, Any] = {}

    def at(self, *urls: str, token_variable: str | None = None) -> Self:
        """Return this accessor for the servers at ``urls``, which share the rows.

        Parameters
        ----------
        *urls : str
            The addresses of the servers, as the workers reach them.
        token_variable : str, optional
            The environment variable of the workers with the token of all servers. By default each
            server gets the token that the environment has for its address.

        Returns
        -------
        DaskRows
            A copy of the accessor.
        """
        other = copy.copy(self)
        other._where = {"endpoints": urls, "token_variable": token_variable}
        return other

    def _apply(self, operator: str, /, *arguments: Any, **keywords: Any) -> Any:
        rows = OllamaRows(operator, *arguments, **self._where, **keywords)
        meta = rows.meta(_utils.meta_nonempty(_utils.make_meta(self._collection)))
        # Bound here, since Dask would align a DataFrame among the arguments with the partitions.
        return self._collection.map_partitions(partial(_result, rows, meta), meta=meta)


def _result(rows: OllamaRows, meta: Any, part: Any) -> Any:
    return rows.like(part, meta)


_extensions.register_series_accessor("ollama")(DaskRows)
_extensions.register_dataframe_accessor("ollama")(DaskRows)
