"""DataFrames for people: sizes and ages in words, and no numbers before the rows."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from datetime import datetime
from numbers import Integral
from typing import Any

import pandas as pd

from .readable import age, size

MOST_ROWS = 500
"""A longer table is shown as pandas shows it."""

LONGEST_TEXT = 60
SEPARATED = 10_000
"""From here on whole numbers get commas."""

NOTHING = "(none)"
"""The only row of an empty table."""

BYTES = ("size", "on_gpu")
"""The columns that count bytes."""


class Table(pd.DataFrame):
    """A DataFrame that shows itself as a list of a command line does."""

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return Table

    def __repr__(self) -> str:
        if not self._is_list():
            return super().__repr__()
        columns = [self._padded(head, cells, right) for head, right, cells in self._columns()]
        return "\n".join("   ".join(line).rstrip() for line in zip(*columns, strict=True))

    def _repr_html_(self) -> str:
        if not self._is_list():
            return pd.DataFrame(self).to_html(max_rows=60, show_dimensions=True)
        columns = [self._tagged(head, cells, right) for head, right, cells in self._columns()]
        head, *rows = ("".join(line) for line in zip(*columns, strict=True))
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    @staticmethod
    def _padded(head: str, cells: list[str], right: bool) -> list[str]:
        width = max(map(len, [head, *cells]))
        return [cell.rjust(width) if right else cell.ljust(width) for cell in [head, *cells]]

    @staticmethod
    def _tagged(head: str, cells: list[str], right: bool) -> list[str]:
        style = f"text-align: {'right' if right else 'left'}"
        return [
            f'<{tag} style="{style}">{html.escape(text)}</{tag}>'
            for tag, text in [("th", head), *(("td", cell) for cell in cells)]
        ]

    def _is_list(self) -> bool:
        """Tell whether this is still what a command lists, and no other frame made of it."""
        return 0 < len(self.columns) == self.columns.nunique() and len(self) <= MOST_ROWS

    def _columns(self) -> Iterator[tuple[str, bool, list[str]]]:
        """Yield the head, whether it holds numbers, and the texts of each column."""
        if self.empty:
            yield from (
                (str(name), False, [NOTHING if not i else ""]) for i, name in enumerate(self)
            )
            return
        if self.index.name is not None or not pd.api.types.is_integer_dtype(self.index.dtype):
            yield str(self.index.name or ""), False, [_cell("", value) for value in self.index]
        for name in self.columns:
            right = pd.api.types.is_numeric_dtype(self[name].dtype)
            yield str(name), right, [_cell(name, value) for value in self[name]]


def _cell(column: Any, value: Any) -> str:
    if value is None or value is pd.NaT:
        return ""
    if isinstance(value, datetime):
        return age(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        number = int(value)
        if column in BYTES:
            return size(number) if number else "none"
        return f"{number:,}" if number >= SEPARATED else str(number)
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
