"""``%%chat --sources``: rows of an index in the prompt, and the citations in the answer."""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..failures import OllamaMagicsError
from ..markdown import folded, safe_markdown

if TYPE_CHECKING:
    import pandas as pd

COUNT = 5
SHOWN = 300
"""Characters of a source that are shown."""
ADDRESSES = ("url", "link", "href")
"""Columns whose value, in any case, is the address that a citation links to."""
INSTRUCTION = (
    "Answer from the numbered sources below. After each statement, cite the source that it is "
    "from by its number in brackets, such as [1]. If the sources do not have the answer, say so."
)

_CITATION = re.compile(
    r"(?P<kept>^(?P<fence>`{3,}).*?^(?P=fence)`*[ \t]*$|(?P<ticks>`+)[^`].*?(?P=ticks)|\$[^$]+\$)"
    r"|\[(?P<numbers>\d{1,3}(?:,\s*\d{1,3})*)\](?![(:])",
    re.S | re.M,
)
"""A citation, or a part of markdown in which brackets are no citations."""


class Sources:
    """Rows of an index, numbered from 1.

    Attributes
    ----------
    rows : DataFrame
        The rows as ``search`` returns them.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows = rows
        self._anchor = f"source-{secrets.token_hex(4)}"

    @cached_property
    def _texts(self) -> list[str]:
        # The last column: data may have a column of that name.
        return [str(text) for text in self.rows.iloc[:, -1]]

    @property
    def instruction(self) -> str:
        """The text for the prompt: what to do, and the sources."""
        numbered = [f"[{number}] {text}" for number, text in enumerate(self._texts, 1)]
        return "\n\n".join([INSTRUCTION, *(numbered or ["(There are no sources.)"])])

    def cited(self, answer: str) -> list[int]:
        """Return the numbers that an answer cites, in the order of the sources."""
        found = {
            int(number)
            for match in _CITATION.finditer(answer)
            if match["numbers"]
            for number in match["numbers"].split(",")
        }
        return sorted(number for number in found if 1 <= number <= len(self._texts))

    def linked(self, markdown: str) -> str:
        """Return safe markdown with its citations as links to the sources."""

        def link(match: re.Match[str]) -> str:
            if match["kept"]:
                return match[0]
            numbers = [int(number) for number in match["numbers"].split(",")]
            if not all(1 <= number <= len(self._texts) for number in numbers):
                return match[0]
            return "".join(self._link(number) for number in numbers)

        return _CITATION.sub(link, markdown)

    def markdown(self, answer: str) -> str:
        """Return a folded list of the sources; those that ``answer`` cites are bold."""
        cited = self.cited(answer)
        items = []
        for number, text in enumerate(self._texts, 1):
            name = f"[{number}]"
            name = f"**{name}**" if number in cited else name
            label = safe_markdown(str(self.rows.index[number - 1]))
            short = safe_markdown(_shortened(text, SHOWN))
            address = self._address(number)
            where = f" [{label}](<{address}>)" if address else f" {label}"
            items.append(f'- <a id="{self._anchor}-{number}"></a>{name}{where}: {short}')
        title = f"{len(items)} sources, {len(cited)} cited"
        return folded(title, "\n".join(items))

    def plain(self, answer: str) -> str:
        """Return a line for each source that ``answer`` cites."""
        lines = [
            f"[{number}] {self.rows.index[number - 1]}: {_shortened(self._texts[number - 1], 80)}"
            for number in self.cited(answer)
        ]
        return "\n".join(lines)

    def _link(self, number: int) -> str:
        target = self._address(number) or f"#{self._anchor}-{number}"
        title = re.sub(r"[^\w\s.,;:?%+/'-]", " ", _shortened(self._texts[number - 1], 120))
        return f'[\\[{number}\\]](<{target}> "{title}")'

    def _address(self, number: int) -> str:
        """Return the web address in a column of a source, "" if it has none."""
        row = self.rows.iloc[number - 1]
        for name, value in row.items():
            if str(name).lower() in ADDRESSES and isinstance(value, str):
                parts = urlsplit(value.strip())
                if parts.scheme in ("http", "https") and not re.search(r"[\s<>\\]", value.strip()):
                    return html.escape(value.strip())
        return ""


def find(
    expression: str | None, count: int | None, query: str, evaluate: Callable[[str], Any]
) -> Sources | None:
    """Return the rows of the index that ``--sources`` names, None without the option."""
    if not expression:
        if count is not None:
            raise OllamaMagicsError("--sources-k needs --sources INDEX.")
        return None
    index = evaluate(expression)
    from .index import SearchIndex

    if not isinstance(index, SearchIndex):
        kind = type(index).__name__
        raise OllamaMagicsError(
            f"--sources {expression} is of type {kind}, not an index of df.ollama.index."
        )
    return Sources(index.search(query, COUNT if count is None else count))


def _shortened(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
