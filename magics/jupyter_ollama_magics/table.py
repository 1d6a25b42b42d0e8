"""DataFrames that display sizes and ages in words, without row numbers."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from datetime import datetime
from numbers import Integral
from typing import Any

import pandas as pd
from jupyter_ollama_client.readable import age, size

MOST_ROWS = 500
"""Longer tables have the display of pandas."""

LONGEST_TEXT = 60
SEPARATORS_FROM = 10_000
"""Whole numbers from this one on have thousands separators."""

EMPTY = "(none)"
"""The only row of an empty table."""

BYTES = ("size", "on_gpu")
"""The columns that hold bytes."""


class Table(pd.DataFrame):
    """A DataFrame with the display of a command line's list."""

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
        """Return whether the rows fit the list display; frames derived from a list may not."""
        return 0 < len(self.columns) == self.columns.nunique() and len(self) <= MOST_ROWS

    def _columns(self) -> Iterator[tuple[str, bool, list[str]]]:
        """Yield the head of each column, whether it holds numbers, and its texts."""
        if self.empty:
            yield from ((str(name), False, [EMPTY if not i else ""]) for i, name in enumerate(self))
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
        return f"{number:,}" if number >= SEPARATORS_FROM else str(number)
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
