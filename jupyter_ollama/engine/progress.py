"""How much of a prompt is read, told to those who asked for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from .protocol import Event, Progress

INTERVAL = 0.25
"""Seconds between two events about a prompt."""


class PromptProgress:
    """Tells of one prompt, a few times a second."""

    def __init__(self, request: int, send: Callable[[Event], None]) -> None:
        self._request = request
        self._send = send
        self._next = 0.0

    def tell(self, completed: int, total: int) -> None:
        """Send how many tokens are read, unless that was done just now."""
        now = time.perf_counter()
        if now >= self._next:
            self._next = now + INTERVAL
            self._send(Progress(self._request, completed, total))
