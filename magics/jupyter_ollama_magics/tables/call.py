"""What the operators of several calls share: Plans for texts, and the vectors of columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import columns
from ..rows import tasks as row_tasks
from ..rows import texts as row_texts
from ..rows.disk_cache import cache_file
from ..rows.plan import Plan
from ..rows.registry import Errors, RowOperator
from ..rows.similar import holds_texts, normalized
from ..servers import Servers
from .steps import Steps


class TableCall:
    """The data and the servers of an accessor."""

    _data: Any
    _servers: Callable[[], Servers]

    def _plan_for(
        self,
        operator: RowOperator,
        texts: Sequence[str | None],
        model: str | None,
        cache: bool | str | Path = False,
        errors: Errors = "raise",
        index: pd.Index | None = None,
    ) -> Plan:
        """Return the Plan of an operator for texts that are no rows of the data."""
        data = pd.Series(np.arange(len(texts)), index=index)
        return Plan(
            operator,
            data,
            list(texts),
            self._servers,
            model=model,
            errors=errors,
            cache=cache_file(cache),
        )

    def _vectors(
        self, column: pd.Series, model: str | None, cache: bool | str | Path = False
    ) -> Steps[tuple[np.ndarray, np.ndarray]]:
        """Return a mask of the rows with a value, and their unit vectors.

        The column holds vectors, or texts, which are embedded by the servers of the accessor. The
        shapes are (rows,) and (rows with a value, dimensions).
        """
        present = column.notna().to_numpy(bool)
        given = column[present]
        if given.empty:
            return present, np.empty((0, 0), dtype=np.float32)
        if not holds_texts(given):
            return present, normalized(columns.matrix(given))
        texts = row_texts.column_texts(given, ".ollama")
        operator = RowOperator(
            "embedding", lambda servers, name: row_tasks.Embed(name), columns.objects
        )
        vectors = yield self._plan_for(operator, texts, model, cache, index=given.index)
        return present, normalized(np.stack(vectors.to_numpy()).astype(np.float32))


def column_of(data: pd.DataFrame, name: Any) -> pd.Series:
    """Return a column. Raises OllamaMagicsError if none or several have the name."""
    count = int((data.columns == name).sum())
    if count != 1:
        known = ", ".join(map(str, data.columns))
        number = f"{count} columns" if count else "no column"
        raise OllamaMagicsError(f"The DataFrame has {number} {name}. It has {known or 'none'}.")
    column: pd.Series = data[name]
    return column


def positive(value: Any, name: str) -> int:
    """Return a positive integer. Raises OllamaMagicsError for other values."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise OllamaMagicsError(f"{name} is a positive integer, not {value!r}.")
    return int(value)
