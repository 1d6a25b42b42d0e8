"""Show an answer while it is generated."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .redraw_throttle import RedrawThrottle
from .result import ChatResult
from .tools import ToolCall
from .waiting import Waiting
from .waiting import waiting_for as waiting_for

if TYPE_CHECKING:
    from .connection import Connection


class NotebookView:
    """One output that is updated in place, at most ``refresh_hz`` times a second."""

    def __init__(self, refresh_hz: float) -> None:
        from IPython.display import DisplayHandle

        self._handle = DisplayHandle()
        self._throttle = RedrawThrottle(refresh_hz)
        self._begun = False
        self._waiting = Waiting(self._draw)

    def begin(self, result: ChatResult, connection: Connection) -> None:
        """Show the state of the request until the answer begins."""
        self._waiting.begin(result, connection)

    def update(self, result: ChatResult) -> None:
        """Show the current answer, unless it was shown just before."""
        if result.text or result.thinking or result.calls:
            with self._waiting.over():
                if self._throttle.due(len(result.text)):
                    self._draw(result)

    def waiting(self, result: ChatResult, chunk: dict[str, Any]) -> None:
        """Record a status line of the request."""
        self._waiting.take(chunk)

    def flush(self, result: ChatResult) -> None:
        """Show all text received: a tool may now ask the user or run for long."""
        with self._waiting.over():
            self._draw(result)

    def called(self, call: ToolCall) -> None:
        """Do nothing: the next redraw shows the outcome of a call."""

    def finish(self, result: ChatResult) -> None:
        """Show the final answer."""
        self.flush(result)

    def clear(self) -> None:
        """Remove the state of a request that has no answer."""
        with self._waiting.over():
            if self._begun:
                self._handle.update({"text/plain": ""}, raw=True)

    def _draw(self, result: ChatResult) -> None:
        draw: Callable[..., None] = self._handle.update if self._begun else self._handle.display
        draw(result.bundle(), raw=True, metadata=result.metadata())
        self._begun = True


def take(chunk: dict[str, Any], result: ChatResult, view: NotebookView | TerminalView) -> None:
    """Add a chunk of the stream to an answer, or record its status line, and show it."""
    if chunk.get("status"):
        view.waiting(result, chunk)
    else:
        result.add(chunk)
        view.update(result)


class TerminalView:
    """Text that is written once, as it arrives. The state of the request is erased."""

    def __init__(self) -> None:
        self._written = 0
        self._thinking = False
        self._line = False
        self._waiting = Waiting(self._draw_line)

    def begin(self, result: ChatResult, connection: Connection) -> None:
        """Show the state of the request until the answer begins, if it can be erased."""
        if sys.stdout.isatty():
            self._waiting.begin(result, connection)

    def update(self, result: ChatResult) -> None:
        """Write the new text."""
        with self._cleared():
            if result.thinking and not result.text and not self._thinking:
                self._thinking = True
                sys.stdout.write("(thinking…)\n")
            sys.stdout.write(result.text[self._written :])
            sys.stdout.flush()
            self._written = len(result.text)

    def waiting(self, result: ChatResult, chunk: dict[str, Any]) -> None:
        """Record a status line of the request."""
        self._waiting.take(chunk)

    def flush(self, result: ChatResult) -> None:
        """End the line; another round follows."""
        self.finish(result)
        self._written = 0
        self._thinking = False

    def called(self, call: ToolCall) -> None:
        """Write the call and its outcome."""
        sys.stdout.write(f"[{call}: {call.outcome}]\n")
        sys.stdout.flush()

    def finish(self, result: ChatResult) -> None:
        """End the line."""
        with self._cleared():
            text = result.text[: self._written]
            sys.stdout.write("\n" if text and not text.endswith("\n") else "")
            sys.stdout.flush()

    def clear(self) -> None:
        """Remove the state of a request that has no answer."""
        with self._cleared():
            sys.stdout.flush()

    @contextmanager
    def _cleared(self) -> Iterator[None]:
        with self._waiting.over():
            if self._line:
                self._line = False
                sys.stdout.write("\r\x1b[2K")
            yield

    def _draw_line(self, result: ChatResult) -> None:
        sys.stdout.write(f"\r\x1b[2K{result.footer}")
        sys.stdout.flush()
        self._line = True
