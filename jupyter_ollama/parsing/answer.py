"""What the parsers of all formats share: the text that comes, and what has been made of it."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from typing import Any

import msgspec

from ..prompt.messages import ToolCall, ToolCallFunction
from .parsed import Parsed
from .reader import InvalidCall, Reader, Steps, Unfinished
from .tools import Call, Tools

Block = Callable[["Answer", str], Steps[None]]
"""Reads what a mark opens, and tells the calls to the answer; raises InvalidCall, Unfinished."""


class Channel:
    """Text on its way out, its blanks held back where what follows decides about them."""

    def __init__(self, *, holds_blanks: bool) -> None:
        self._holds = holds_blanks
        self._ready: list[str] = []
        self._blanks: list[str] = []
        self._swallows = False

    def add(self, text: str) -> None:
        """Add text."""
        if self._swallows:
            text = text.lstrip()
            self._swallows = not text
        if not self._holds:
            self._ready.append(text)
            return
        solid = text.rstrip()
        if solid:
            self._ready += (*self._blanks, solid)
            self._blanks.clear()
        if len(solid) < len(text):
            self._blanks.append(text[len(solid) :])

    def cut(self) -> None:
        """Drop the blanks held back, and those that come next."""
        self._blanks.clear()
        self._swallows = True

    def flush(self) -> None:
        """Let the blanks go."""
        self._ready += self._blanks
        self._blanks.clear()

    def take(self) -> str:
        """Return the text that is ready."""
        text = "".join(self._ready)
        self._ready.clear()
        return text


class Answer:
    """An answer that is being parsed. Subclasses say how, in ``_run``.

    Where ``trims``, blanks around calls belong to the format and not to the content.
    """

    def __init__(self, tools: Tools, *, trims: bool = False) -> None:
        self.reader = Reader()
        self.tools = tools
        self.content = Channel(holds_blanks=trims)
        self.thought = Channel(holds_blanks=True)
        self.found = 0
        self._trims = trims
        self._calls: list[ToolCall] = []
        self._steps = self._run()

    def feed(self, text: str) -> Parsed:
        """Take the next text of the model, its special tokens written out."""
        self.reader.push(text)
        return self._advance()

    def finish(self) -> Parsed:
        """Take note of the end of the answer and give what was held back."""
        self.reader.end()
        self._advance(into := Parsed())
        self.thought.flush()
        self.content.flush()
        return self._add_ready(into)

    def _advance(self, into: Parsed | None = None) -> Parsed:
        next(self._steps, None)
        return self._add_ready(into or Parsed())

    def _add_ready(self, into: Parsed) -> Parsed:
        into.content += self.content.take()
        into.thinking += self.thought.take()
        into.tool_calls = into.tool_calls + self._calls
        self._calls = []
        return into

    def _run(self) -> Steps[None]:
        raise NotImplementedError

    def call(self, name: str, arguments: dict[str, Any]) -> None:
        """Take note of a call. What was read up to here has been understood.

        Raises InvalidCall for arguments that could not be sent on (half a character, too deep).
        """
        try:
            msgspec.msgpack.encode(arguments)
        except (ValueError, OverflowError, RecursionError) as error:
            raise InvalidCall from error
        function = ToolCallFunction(name, arguments, index=self.found)
        self._calls.append(ToolCall(function, id=call_id()))
        self.found += 1
        self.reader.forget()
        if self._trims:
            self.content.cut()

    def calls(self, calls: list[Call]) -> None:
        """Take note of calls."""
        for name, arguments in calls:
            self.call(name, arguments)

    def attempt(self, block: Block, mark: str) -> Steps[None]:
        """Read a block; what is no call becomes content.

        A call that the end of the answer cuts off does so too, unless others came before it: then
        it is dropped. Unfinished is passed on.
        """
        record = self.reader.record(mark)
        try:
            yield from block(self, mark)
        except InvalidCall:
            self.content.add("".join(record))
            self.reader.forget()
        except Unfinished:
            text = "".join(record)
            if not self.found and text.removeprefix(mark).strip():
                self.content.add(text)
            self.reader.forget()
            raise
        finally:
            self.reader.stop(record)


def call_id() -> str:
    """Return a name for a call that no other call of the conversation has."""
    return "call_" + "".join(random.choices(string.ascii_lowercase + string.digits, k=8))
