"""Tool calls of Gemma: a name and a mapping with special tokens around strings."""

from __future__ import annotations

import re
from typing import Any

from .answer import Answer, Block
from .reader import InvalidCall, Reader, Steps, Unfinished, marks, without_beginning
from .tools import decode, whole_number

JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
APOSTROPHES = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
BLANKS = re.compile(r"\s*")
KEY = re.compile(r"([^{}\[\],:<]+):")


def gemma_call(close: str, quote: str, *noise: str) -> Block:
    """Make a block of ``call:name{key:value}``, its strings between ``quote``.

    ``noise`` are meaningless marks that models write after a call. If there are any, blanks between
    calls and line breaks after them are meaningless, too.
    """

    def read(answer: Answer, opened: str) -> Steps[None]:
        reader = answer.reader
        text, closed = yield from _call(reader, close, quote, (opened, *noise))
        head, brace, rest = text.partition("{")
        name = head.strip().removeprefix("call:").strip()
        if closed and not brace and name in answer.tools.names:
            brace, rest = "{", "}"
        try:
            if not brace or not name:
                raise InvalidCall
            arguments = _Mapping(brace + rest, quote, answer.tools.parameters(name)).read()
        except InvalidCall as error:
            raise error if closed else Unfinished from error
        answer.call(name, arguments)
        while (yield from reader.close((close, *noise))):
            pass
        if noise and ((yield from reader.line_ends()) or (yield from reader.sees((opened,)))):
            answer.content.swallow()

    return read


def _call(
    reader: Reader, close: str, quote: str, follows: tuple[str, ...]
) -> Steps[tuple[str, bool]]:
    """Read a call and ``close``, and return whether ``close`` was found.

    Within a string it ends the call only after a brace, and before the end of the answer or a mark
    that ``follows`` calls. Raises Unfinished for a string that is cut off.
    """
    pieces: list[str] = []
    quoted = False
    while mark := (yield from reader.until(marks(quote, close), pieces.append)):
        if mark == close:
            last = next((piece for piece in reversed(pieces) if piece.strip()), "")
            over = not quoted
            if quoted and last.rstrip().endswith("}"):
                over = bool((yield from reader.sees((close, *follows))))
                over = over or (yield from reader.nothing_left())
            if over:
                return "".join(pieces), True
        else:
            quoted = not quoted
        pieces.append(mark)
    if quoted:
        raise Unfinished
    return without_beginning("".join(pieces), close), False


class _Mapping:
    """The arguments of a call, with bare keys and strings without escapes.

    Also reads common deviations: keys and strings in quotation marks or apostrophes, bare strings,
    and a last string that is not closed.
    """

    def __init__(self, text: str, quote: str, parameters: list[str]) -> None:
        self._text = text
        self._at = 0
        self._quote = quote
        self._parameters = parameters
        self._closers: list[str] = []
        self._parts = re.compile("|".join(map(re.escape, (quote, *"{}[],:"))))

    def read(self) -> dict[str, Any]:
        """Return the arguments. Raises InvalidCall."""
        try:
            found = self._mapping()
        except RecursionError as error:
            raise InvalidCall from error
        if self._text[self._at :].strip():
            raise InvalidCall
        return found

    def _mapping(self) -> dict[str, Any]:
        self._at += 1
        self._closers.append("}")
        found: dict[str, Any] = {}
        while True:
            key, mark = self._until(":}")
            if mark == "}" and not key:
                break
            if mark != ":" or not key:
                raise InvalidCall
            found[key], mark = self._value()
            if mark == "}":
                break
        self._closers.pop()
        return found

    def _list(self) -> list[Any]:
        self._at += 1
        self._closers.append("]")
        found: list[Any] = []
        while True:
            value, mark = self._value()
            if value != "" or mark == ",":
                found.append(value)
            if mark == "]":
                self._closers.pop()
                return found

    def _until(self, ends: str) -> tuple[str, str]:
        """Return the text up to one of ``ends``, without quotes around it, and the end."""
        start = self._at
        while match := self._parts.search(self._text, self._at):
            self._at = match.end()
            if match.group() in ends:
                text = self._text[start : match.start()].strip()
                return self._bare(text), match.group()
        raise InvalidCall

    def _bare(self, text: str) -> str:
        for quote in (self._quote, '"', "'"):
            if len(text) >= 2 * len(quote) and text.startswith(quote) and text.endswith(quote):
                return text[len(quote) : -len(quote)]
        return text

    def _value(self) -> tuple[Any, str]:
        """Read a value and the comma or bracket after it."""
        self._at = self._after_blanks(self._at)
        if self._text.startswith(self._quote, self._at):
            return self._string()
        if self._text.startswith(("{", "["), self._at):
            value: Any = self._mapping() if self._text[self._at] == "{" else self._list()
            return value, self._end()
        for pattern in (JSON_STRING, APOSTROPHES):
            match = pattern.match(self._text, self._at)
            if not match:
                continue
            stray = self._text.startswith(self._quote, match.end())
            after = match.end() + (len(self._quote) if stray else 0)
            if self._text.startswith((",", self._closers[-1]), self._after_blanks(after)):
                self._at = after
                return (match[1] if match.re is APOSTROPHES else decode(match[0])), self._end()
        return self._unquoted()

    def _after_blanks(self, at: int) -> int:
        blanks = BLANKS.match(self._text, at)
        return blanks.end() if blanks else at

    def _string(self) -> tuple[str, str]:
        start = self._at + len(self._quote)
        end = self._text.find(self._quote, start)
        if end >= 0:
            self._at = end + len(self._quote)
            return self._text[start:end], self._end()
        text = self._text[start:].rstrip()
        for closer in self._closers:
            text = text.removesuffix(closer).rstrip()
        self._text = "".join(reversed(self._closers))
        self._at = 1
        return text, self._text[0]

    def _end(self) -> str:
        """Read the comma or bracket after a value."""
        text, mark = self._until("," + self._closers[-1])
        if text:
            raise InvalidCall
        return mark

    def _unquoted(self) -> tuple[Any, str]:
        """Read a number, a word, or a string without quotes."""
        start, closer = self._at, self._closers[-1]
        while match := self._parts.search(self._text, self._at):
            self._at = match.end()
            text, mark = self._text[start : match.start()].strip(), match.group()
            if mark in ("," + closer) and self._ends(text, mark):
                try:
                    return whole_number(decode(text)), mark
                except InvalidCall:
                    return text, mark
        raise InvalidCall

    def _ends(self, text: str, mark: str) -> bool:
        """Return whether the mark just read ends a bare value, or is a part of its text."""
        if self._closers[-1] == "]":
            return True
        if mark == "}":
            return len(self._closers) > 1 or self._after_blanks(self._at) == len(self._text)
        key = KEY.match(self._text, self._at)
        if not key:
            begins = (self._quote, '"', "'", "}")
            return self._text.startswith(begins, self._after_blanks(self._at))
        word = self._bare(key[1].strip())
        return word in self._parameters or is_json(text) or not re.search(r"\s", word)


def is_json(text: str) -> bool:
    """Return whether a text is a JSON value."""
    try:
        decode(text)
    except InvalidCall:
        return False
    return True
