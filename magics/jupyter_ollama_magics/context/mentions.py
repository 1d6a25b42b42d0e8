"""The ``@`` words of a question: what they name is sent above the question.

The text of the question stays as it is. Words that name nothing are text: e-mail addresses,
decorators and code in backticks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..failures import OllamaMagicsError
from . import cells, files, tables
from .scope import user_names
from .tokens import estimate
from .variables import describe, summary

FENCE = "````"
ERROR, NOTEBOOK = "error", "notebook"
CELL, FILE = "cell:", "file:"
_WORD = re.compile(
    r"""(?<![\w@.`/\\])@(?:
        (?P<cell>cell:\d+)
        | (?P<file>file:(?:"[^"\n]+"|[^\s"'`]+))
        | (?P<name>[^\W\d]\w*)(?P<column>\.[^\W\d]\w*)?
    )""",
    re.X,
)
_CODE = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,}).*?(?:^[ \t]*(?P=fence)|\Z)|`[^`\n]+`", re.M | re.S
)
_DECORATOR = re.compile(
    r"^[ \t]*@[\w.]+(?:\(.*\))?[ \t]*\n(?=[ \t]*(?:@[\w.]+|(?:async[ \t]+)?def\b|class\b))", re.M
)
_TYPED = re.compile(r"""(?<![\w@.`/\\])@((?:file:(?:"[^"\n]*|\S*))|cell:\d*|\w*)$""")
_TRAILING = ".,;:!?)]}"


@dataclass(frozen=True)
class Part:
    """A text that a question refers to; ``title`` is the word, such as "@df"."""

    title: str
    text: str

    @property
    def tokens(self) -> int:
        """Return about how many tokens the text has."""
        return estimate(self.text)

    def block(self) -> str:
        """Return the part as it is sent."""
        return f"{self.title}:\n{FENCE}\n{self.text.replace(FENCE, '`' * 3)}\n{FENCE}"


class HasError(Protocol):
    """What remembers the last error of the kernel."""

    def short(self) -> str:
        """Return the error with its cell, "" if there was none."""


def with_mentions(question: str, parts: list[Part]) -> str:
    """Return the message of a question: first the parts, then the question."""
    return "\n\n".join([*(part.block() for part in parts), question])


def mentioned(text: str, shell: Any, last_error: HasError) -> list[Part]:
    """Return what the ``@`` words of a text name, each once, in their order.

    Raises OllamaMagicsError for a cell that has not run, a file that cannot be read, or ``@error``
    without an error.
    """
    code = [found.span() for one in (_CODE, _DECORATOR) for found in one.finditer(text)]
    names = user_names(shell.user_ns, shell.user_ns_hidden)
    parts: dict[str, Part] = {}
    for word in _WORD.finditer(text):
        if any(start <= word.start() < end for start, end in code):
            continue
        part = _part(word, shell, names, last_error)
        if part is not None:
            parts.setdefault(part.title, part)
    return list(parts.values())


def _part(
    word: re.Match[str], shell: Any, names: Mapping[str, Any], last_error: HasError
) -> Part | None:
    if word["cell"]:
        number = int(word["cell"].removeprefix(CELL))
        text = cells.cell(shell, number)
        if text is None:
            raise OllamaMagicsError(f"@cell:{number}: this kernel has not run a cell In[{number}].")
        return Part(f"@cell:{number}", text)
    if word["file"]:
        path = word["file"].removeprefix(FILE)
        path = path.strip('"') if path.startswith('"') else path.rstrip(_TRAILING)
        return Part(f"@file:{path}", files.file_text(path))
    name, column = word["name"], word["column"]
    if name in names:
        return _variable(name, (column or "").removeprefix("."), names[name])
    if name == ERROR:
        text = last_error.short()
        if not text:
            raise OllamaMagicsError("@error: no cell has raised an exception yet.")
        return Part("@error", text)
    if name == NOTEBOOK:
        return Part("@notebook", cells.notebook(shell))
    return None


def _variable(name: str, column: str, value: Any) -> Part:
    if column and tables.is_frame(value) and column in tables.column_names(value):
        return Part(f"@{name}.{column}", describe(f"{name}.{column}", value[column]))
    return Part(f"@{name}", describe(name, value))


def typed(before: str) -> str | None:
    """Return what follows the ``@`` at the end of the text before the cursor, None elsewhere."""
    head, _, body = before.partition("\n")
    if not head.startswith("%%chat") or "\n" not in before:
        return None
    match = _TYPED.search(body)
    return match[1] if match else None


def offers(begin: str, names: Callable[[], Mapping[str, Any]], shell: Any) -> list[tuple[str, str]]:
    """Return (word, kind) of the ``@`` words that begin so."""
    if begin.startswith(FILE):
        path = begin.removeprefix(FILE).removeprefix('"')
        return [(FILE + _quoted(one), "file") for one in files.matching(path)]
    if begin.startswith(CELL):
        words = [(f"{CELL}{number}", "cell") for number in cells.sources(shell)]
    else:
        words = [(name, summary(value)) for name, value in names().items()]
        words += [(ERROR, "error"), (NOTEBOOK, "notebook"), (CELL, "cell"), (FILE, "file")]
    return [(word, kind) for word, kind in words if word.startswith(begin)]


def _quoted(path: str) -> str:
    return f'"{path}"' if re.search(r"[\s'`]", path) else path
