"""Tool calls with keyword arguments, similar to Python's, including common deviations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .answer import Answer, Block
from .reader import InvalidCall, Steps, Unfinished, marks, without_beginning
from .tools import Call, Tools, calls_in, decode, literal, whole_number

CALL = re.compile(r"[\s,;]*([\w.:/-]+)\s*\(")
KEYWORD = re.compile(r"\s*([\w.-]+)\s*=(?!=)")
STRING = re.compile(r"""("|')(?:[^\\]|\\.)*?\1""", re.DOTALL)
PARTS = re.compile(r"""["'()\[\]{},]""")


def keyword_calls(close: str) -> Block:
    """Make a block of calls with keywords, in a list or one after another.

    Names need not be identifiers, strings may contain line breaks and may lack quotes.
    """

    def read(answer: Answer, _opened: str) -> Steps[None]:
        reader = answer.reader
        pieces: list[str] = []
        mark = yield from reader.until(marks(close), pieces.append)
        text = "".join(pieces)
        try:
            answer.calls(_calls((text if mark else without_beginning(text, close)), answer.tools))
        except InvalidCall as error:
            raise error if mark else Unfinished from error

    return read


def _calls(text: str, tools: Tools) -> list[Call]:
    text = text.strip()
    try:
        return calls_in(decode(text), tools)
    except InvalidCall:
        pass
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    found: list[Call] = []
    at = 0
    while match := CALL.match(text, at):
        items, at = _items(text, match.end())
        found.append((match[1], _arguments(items, tools.parameters(match[1]))))
    if not found or text[at:].strip(" \t\r\n,;"):
        raise InvalidCall
    return found


def _items(text: str, start: int) -> tuple[list[str], int]:
    """Return the texts between commas up to the closing parenthesis, and the index after it."""
    items: list[str] = []
    depth, at = 0, start
    while match := PARTS.search(text, at):
        part, at = match.group(), match.end()
        if part in "\"'":
            string = STRING.match(text, match.start())
            at = string.end() if string else at
        elif part in "([{":
            depth += 1
        elif part in ")]}" and depth:
            depth -= 1
        elif not depth and part in ",)":
            items.append(text[start : match.start()].strip())
            start = at
            if part == ")":
                return (items if items != [""] else []), at
    raise InvalidCall


def _arguments(items: list[str], parameters: list[str]) -> dict[str, Any]:
    """Return the arguments of a call; positional ones take their names from the schema."""
    positions: Iterator[str] = iter(parameters)
    arguments: dict[str, Any] = {}
    for item in filter(None, items):
        keyword = KEYWORD.match(item)
        name = keyword[1] if keyword else next(positions, "")
        if not name or (not keyword and len(arguments) >= len(parameters)):
            raise InvalidCall
        arguments[name] = _value(item[keyword.end() :] if keyword else item)
    return arguments


def _value(text: str) -> Any:
    """Read a value; a text that is not Python or JSON is a string without quotes."""
    text = text.strip()
    one_line = STRING.sub(lambda match: match[0].replace("\r", "\\r").replace("\n", "\\n"), text)
    try:
        return whole_number(literal(one_line))
    except InvalidCall:
        return text
