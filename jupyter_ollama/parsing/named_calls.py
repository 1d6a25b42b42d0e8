"""Tool calls after a tag inferred from the template, found by the names of the tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .answer import Answer
from .reader import InvalidCall, Steps, Unfinished, marks
from .tools import Call, Tools, arguments_of, decode

BRACKETS = {"{": "}", "[": "]"}


class NamedCalls:
    """Reads calls up to the end of the answer, or of the list if the tag is a bracket.

    A call is the name of a tool and the first whole JSON object around it or after it. Other text
    is dropped, but becomes content if the tag is a bracket and no call was found.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag

    def __call__(self, answer: Answer, _opened: str) -> Steps[None]:
        """Read the calls."""
        search = _Search(answer.tools)
        brackets = 0
        try:
            while True:
                yield from search.step(answer)
                if search.complete:
                    answer.calls(search.take())
                brackets += {"[": 1, "]": -1}.get(search.mark, 0)
                over = brackets <= 0 if self._tag == "[" else search.closed
                if not over or self._tag not in BRACKETS:
                    continue
                if not answer.found:
                    raise InvalidCall
                if self._tag == "[":
                    yield from answer.reader.skip(("]",))  # even if it was not opened
                    return
                if not (yield from answer.reader.sees(("{", ";", ","))):
                    return
        except Unfinished:
            if self._tag not in BRACKETS:
                answer.reader.forget()
            raise


class _Search:
    """Searches for the next call in text that is read mark by mark."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._outside = marks('"', "{", "}", "[", "]", *tools.names)
        self._inside = marks('"', "\\", *tools.names)
        self._quoted = False
        self._pieces: list[str] = []
        self._name = ""
        self._object: dict[str, Any] | None = None
        self.depth = 0
        self.mark = ""

    def step(self, answer: Answer) -> Steps[None]:
        """Add text up to the next mark. ``mark`` is the mark, or "" within a string."""
        text, mark = yield from answer.reader.body(self._inside if self._quoted else self._outside)
        self._pieces += (text, mark)
        if mark in self._tools.names:
            self._name = self._name or mark
        if self._quoted:
            if mark == "\\":
                self._pieces.append((yield from answer.reader.character()))
            self._quoted = mark != '"'
            self.mark = ""
            return
        self.mark = mark
        if mark == '"':
            self._quoted = bool(self.depth)
        elif mark == "{":
            if not self.depth:
                self._pieces = [mark]
                self._object = None  # the object came without the name of a tool
            self.depth += 1
        elif mark == "}" and self.depth:
            self.depth -= 1
            if not self.depth and self._object is None:
                self._object = _object("".join(self._pieces))

    @property
    def closed(self) -> bool:
        """Whether an object has just ended."""
        return self.mark == "}" and not self.depth

    @property
    def complete(self) -> bool:
        """Whether there is a name and an object."""
        return bool(self._name) and self._object is not None

    def take(self) -> list[Call]:
        """Return the calls of the name and the object, and start the next search."""
        found = list(_calls(self._object or {}, self._name, self._tools))
        if not found and self._object is not None and self._object.get("name") != self._name:
            own = _own(self._object, self._name)
            found = [(self._name, self._object if own is None else own)]
        self._name, self._object, self._pieces = "", None, []
        return found


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = decode(text)
    except InvalidCall:
        return None
    return value if isinstance(value, dict) else None


def _inner(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the objects directly within a value."""
    for item in value.values():
        for one in item if isinstance(item, list) else [item]:
            if isinstance(one, dict):
                yield one


def _calls(value: dict[str, Any], name: str, tools: Tools) -> Iterator[Call]:
    """Yield the objects, at any depth, with a name and arguments."""
    if "name" in value and (arguments := arguments_of(value)) is not None:
        own = value["name"]
        yield (own if own in tools.names else name), arguments
        return
    for inner in _inner(value):
        yield from _calls(inner, name, tools)


def _own(value: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Yield the objects, at any depth, under the name of the tool."""
    if isinstance(value.get(name), dict):
        return dict(value[name])
    return next((own for inner in _inner(value) if (own := _own(inner, name)) is not None), None)
