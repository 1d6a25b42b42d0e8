"""Show an answer while it is being written."""

from __future__ import annotations

import sys
import time
from typing import Any

from .pace import Pace
from .result import ChatResult
from .tools import Call

PATIENCE = 0.5
"""Seconds of waiting before it is told."""


def waiting_for(chunk: dict[str, Any]) -> str:
    """Return what a status line of the server says, for people."""
    place = chunk.get("position")
    if chunk["status"] == "queued" and place:
        ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10 if place // 10 % 10 != 1 else 0, "th")
        return f"waiting, {place}{ending} in line"
    if chunk["status"] == "prompt" and chunk.get("total"):
        return f"reading the prompt, {100 * chunk.get('completed', 0) // chunk['total']} %"
    return {"loading": "loading the model"}.get(chunk["status"], chunk["status"])


def in_notebook(shell: Any) -> bool:
    """Tell whether ``shell`` belongs to a kernel, whose front end can update an output."""
    return getattr(shell, "kernel", None) is not None


class NotebookView:
    """One output that is updated in place, ``refresh_hz`` times a second at most."""

    def __init__(self, refresh_hz: float) -> None:
        from IPython.display import DisplayHandle

        self._handle = DisplayHandle()
        self._pace = Pace(refresh_hz)
        self._begun = False
        self._patience = 0.0

    def update(self, result: ChatResult) -> None:
        """Show the answer as it is now, unless it was shown just before."""
        if (result.text or result.thinking or result.calls) and self._pace.due(len(result.text)):
            self._draw(result)

    def waiting(self, result: ChatResult, chunk: dict[str, Any]) -> None:
        """Tell what an answer waits for, once it has waited a moment."""
        now = time.monotonic()
        self._patience = self._patience or now + PATIENCE
        if now >= self._patience and not (result.text or result.thinking):
            result.waits = waiting_for(chunk)
            self._draw(result)

    def flush(self, result: ChatResult) -> None:
        """Show all that has come: now a tool may ask or run for long."""
        self._draw(result)

    def called(self, call: Call) -> None:
        """Do nothing: the next redraw shows the outcome of a call."""

    def finish(self, result: ChatResult) -> None:
        """Show the answer as it will stay."""
        self._draw(result)

    def _draw(self, result: ChatResult) -> None:
        draw = self._handle.update if self._begun else self._handle.display
        draw(result.bundle(), raw=True, metadata=result.metadata())
        self._begun = True


def take(chunk: dict[str, Any], result: ChatResult, view: NotebookView | TerminalView) -> None:
    """Add a chunk of the stream to an answer and show it, or what the answer waits for."""
    if chunk.get("status"):
        view.waiting(result, chunk)
    else:
        result.add(chunk)
        view.update(result)


class TerminalView:
    """Text that is written once, as it comes."""

    def __init__(self) -> None:
        self._written = 0
        self._thinking = False

    def update(self, result: ChatResult) -> None:
        """Write what is new."""
        if result.thinking and not result.text and not self._thinking:
            self._thinking = True
            sys.stdout.write("(thinking…)\n")
        sys.stdout.write(result.text[self._written :])
        sys.stdout.flush()
        self._written = len(result.text)

    def waiting(self, result: ChatResult, chunk: dict[str, Any]) -> None:
        """Write nothing: a terminal cannot take it back."""

    def flush(self, result: ChatResult) -> None:
        """End the line; what comes next is another round."""
        self.finish(result)
        self._written = 0
        self._thinking = False

    def called(self, call: Call) -> None:
        """Write the call and what came of it."""
        sys.stdout.write(f"[{call}: {call.outcome}]\n")
        sys.stdout.flush()

    def finish(self, result: ChatResult) -> None:
        """End the line."""
        text = result.text[: self._written]
        sys.stdout.write("\n" if text and not text.endswith("\n") else "")
        sys.stdout.flush()
