"""Signs of life of a runner's main thread.

After a silence the parent writes a byte to standard input. The thread that reads it queues a
request for the main thread, which answers between two steps: no helper thread answers for a main
thread that hangs. A step that may take long is announced before it begins.
"""

from __future__ import annotations

from collections.abc import Callable

from .events import Beat, Event

QUESTION = b"?"
"""The byte that the parent writes."""

MARGIN = 4
"""Multiple of its expected duration that a step may take, since other programs use the host."""

WORTH_ANNOUNCING = 1.0
"""Seconds above which a step is announced."""


class Pulse:
    """Reports that the main thread works."""

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send
        self._expected = 0.0

    def answer(self) -> None:
        """Answer the parent; the main thread calls this."""
        self._send(Beat(self._expected))

    def expect(self, seconds: float) -> None:
        """Announce a step that should take so many seconds."""
        self._expected = MARGIN * seconds if MARGIN * seconds > WORTH_ANNOUNCING else 0.0
        if self._expected:
            self._send(Beat(self._expected))
