"""Tool calls of GLM and of Laguna: a name, then pairs of elements for keys and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .answer import Answer
from .reader import JSON, InvalidCall, Steps, Unfinished, marks, without_beginning
from .tools import Tools, calls_in, decode

OPEN, CLOSE = "<tool_call>", "</tool_call>"
KEY, KEY_END = "<arg_key>", "</arg_key>"
VALUE, VALUE_END = "<arg_value>", "</arg_value>"
TAGS = (KEY, KEY_END, VALUE, VALUE_END)

CUT = ""
"""Represents the end of the answer among the marks that may follow a text."""


def known_name(name: str, _tools: Tools) -> str:
    """Return the name of the tool unchanged."""
    return name


@dataclass(frozen=True)
class ElementCall:
    """The syntax of a call up to ``close``. Calling it reads one, after the opening mark.

    Missing tags are inferred; a call without ``close`` at the end of the answer is valid if all of
    its arguments are complete. ``name_of`` maps the written name to the name of the tool. In a
    ``loose`` format a key without a value is skipped, the name may precede arguments in JSON, and
    required arguments may be missing.
    """

    close: str = CLOSE
    name_of: Callable[[str, Tools], str] = known_name
    loose: bool = False

    def __call__(self, answer: Answer, _opened: str) -> Steps[None]:
        """Read a call."""
        reader, tools = answer.reader, answer.tools
        if (yield from reader.sees(("{", "["))):
            value = decode((yield from reader.balanced(JSON, (self.close,))).strip())
            calls = calls_in(value, tools)
            answer.calls([(self.name_of(name, tools), arguments) for name, arguments in calls])
            yield from reader.close((self.close,))
            return
        brace = ("{",) if self.loose else ()
        head, mark = yield from self._text(answer, (*TAGS, *brace), keep=brace)
        keyed = mark in TAGS and mark != KEY
        said, _, key = head.strip().partition("\n" if "\n" in head.strip() else " ")
        if not keyed:
            said, key = head.strip(), ""
        if not said or OPEN in said:
            raise Unfinished if mark == CUT else InvalidCall
        name = self.name_of(said, tools)
        if mark == "{":
            yield from self._json(answer, name)
            return
        arguments: dict[str, Any] = {}
        mark, whole = yield from self._pairs(answer, name, arguments, mark, key.strip() or None)
        if mark == CUT and not (whole and self._complete(name, arguments, tools)):
            raise Unfinished
        if not whole and not self.loose:
            raise InvalidCall
        answer.call(name, arguments)

    def _json(self, answer: Answer, name: str) -> Steps[None]:
        arguments = decode((yield from answer.reader.balanced(JSON, (self.close,))).strip())
        answer.call(name, arguments)
        yield from answer.reader.close((self.close,))

    def _complete(self, name: str, arguments: dict[str, Any], tools: Tools) -> bool:
        """Return whether a call without ``close`` may be complete."""
        if self.loose and arguments:
            return True
        return name in tools.names and arguments.keys() >= tools.required(name)

    def _pairs(
        self,
        answer: Answer,
        name: str,
        arguments: dict[str, Any],
        mark: str,
        key: str | None,
    ) -> Steps[tuple[str, bool]]:
        """Read keys and values after a mark; return the last mark, and whether all are whole."""
        whole = True
        while mark not in (self.close, CUT):
            before = mark
            if before == VALUE:
                text, mark = yield from self._value(answer)
            else:
                text, mark = yield from self._text(answer, TAGS)
            if before == KEY or (before == VALUE_END and mark in (KEY_END, VALUE)):
                whole = whole and key is None
                key = text.strip()
            elif before == VALUE or (before == KEY_END and mark == VALUE_END):
                cut = before == VALUE and mark == CUT
                if key and not cut:
                    text = text.removeprefix("\n").removesuffix("\n")
                    arguments[key] = answer.tools.declared(name, key, text)
                whole = whole and bool(key) and not cut
                key = None
        return mark, whole and key is None

    def _text(
        self, answer: Answer, wanted: tuple[str, ...], keep: tuple[str, ...] = ()
    ) -> Steps[tuple[str, str]]:
        """Read the text up to a mark, and the mark unless it is one to ``keep``."""
        pieces: list[str] = []
        seen = marks(*wanted, self.close)
        mark = yield from answer.reader.until(seen, pieces.append, keep=True)
        if mark not in keep:
            answer.reader.skip_mark(mark)
        text = "".join(pieces)
        return text if mark else without_beginning(text, self.close), mark

    def _value(self, answer: Answer) -> Steps[tuple[str, str]]:
        """Read a value, and the mark after it. Tags within the value are text."""
        reader = answer.reader
        pieces: list[str] = []
        while True:
            wanted = marks(VALUE_END, self.close)
            mark = yield from reader.until(wanted, pieces.append, keep=True)
            if not mark:
                return "".join(pieces), CUT
            follows = (KEY, self.close) if mark == VALUE_END else (OPEN,)
            seen = yield from reader.sees(follows, after=len(mark))
            if seen or (yield from reader.over(self.close, after=len(mark))):
                reader.skip_mark(mark)
                return "".join(pieces), mark
            pieces.append(reader.skip_mark(mark))
