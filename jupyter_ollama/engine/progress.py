"""Progress events of prompts whose requests ask for them."""

from __future__ import annotations

import time
from collections.abc import Callable

from .events import Event, Progress

INTERVAL = 0.25
"""Seconds between two events about a prompt."""


class PromptProgress:
    """Sends the progress of one prompt, a few times a second."""

    def __init__(self, request: int, send: Callable[[Event], None]) -> None:
        self._request = request
        self._send = send
        self._next = 0.0

    def report(self, completed: int, total: int) -> None:
        """Send how many tokens are read, at most once per INTERVAL."""
        now = time.perf_counter()
        if now >= self._next:
            self._next = now + INTERVAL
            self._send(Progress(self._request, completed, total))
