"""The state that parsers of all formats share: incoming text, and the parts parsed so far."""

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
"""Reads a block that a mark opens, and adds its calls; raises InvalidCall, Unfinished."""


class Channel:
    """Output text; blanks are held back while the following text decides about them."""

    def __init__(self, *, holds_blanks: bool) -> None:
        self.holds_blanks = holds_blanks
        self._ready: list[str] = []
        self._blanks: list[str] = []
        self._swallows = False
        self._muted = False

    def mute(self) -> None:
        """Drop all text from now on."""
        self._muted = True

    def add(self, text: str) -> None:
        """Add text."""
        if self._muted:
            return
        if self._swallows:
            text = text.lstrip()
            self._swallows = not text
        if not self.holds_blanks:
            self._ready.append(text)
            return
        solid = text.rstrip()
        if solid:
            self._ready += (*self._blanks, solid)
            self._blanks.clear()
        if len(solid) < len(text):
            self._blanks.append(text[len(solid) :])

    def cut(self) -> None:
        """Drop the blanks held back, and those that follow."""
        self._blanks.clear()
        self.swallow()

    def drop(self) -> None:
        """Drop the blanks held back."""
        self._blanks.clear()

    def swallow(self) -> None:
        """Drop the blanks that follow."""
        self._swallows = True

    def keep(self) -> None:
        """Keep the blanks that follow, overriding an earlier ``swallow``."""
        self._swallows = False

    def flush(self) -> None:
        """Release the blanks held back."""
        self._ready += self._blanks
        self._blanks.clear()

    def take(self) -> str:
        """Return the text that is ready."""
        text = "".join(self._ready)
        self._ready.clear()
        return text


class Answer:
    """An answer that is being parsed. Subclasses implement ``_run``.

    With ``trims``, blanks around calls are part of the format and not of the content. ``closing``
    is the text that ends the thinking under way and begins content, "" without thinking.
    """

    def __init__(self, tools: Tools, *, trims: bool = False) -> None:
        self.closing = ""
        self.reader = Reader()
        self.tools = tools
        self.content = Channel(holds_blanks=trims)
        self.thought = Channel(holds_blanks=True)
        self.found = 0
        self._trims = trims
        self._calls: list[ToolCall] = []
        self._steps = self._run()

    def feed(self, text: str) -> Parsed:
        """Feed the next text of the model, with special tokens written out."""
        self.reader.push(text)
        return self._advance()

    def finish(self) -> Parsed:
        """End the answer and return the text held back."""
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
        """Add a call. All text up to here has been parsed.

        Raises InvalidCall for arguments that cannot be serialized (half a character, too deep).
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
        """Add calls."""
        for name, arguments in calls:
            self.call(name, arguments)

    def attempt(
        self, block: Block, mark: str, out: Callable[[str], None] | None = None
    ) -> Steps[None]:
        """Read a block; text that is not a call becomes content, or is added to ``out``.

        So does a call that the end of the answer cuts off, unless others precede it: then it is
        dropped. Unfinished propagates.
        """
        out = out or self.content.add
        record = self.reader.record(mark)
        try:
            yield from block(self, mark)
        except InvalidCall:
            out("".join(record))
            self.reader.forget()
        except Unfinished:
            text = "".join(record)
            if not self.found and text.removeprefix(mark).strip():
                out(text)
            self.reader.forget()
            raise
        finally:
            self.reader.stop(record)


def call_id() -> str:
    """Return a unique id for a call."""
    return "call_" + "".join(random.choices(string.ascii_lowercase + string.digits, k=8))
