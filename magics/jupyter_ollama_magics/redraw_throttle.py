"""Limit the redraws of growing output."""

from __future__ import annotations

import time

LONG_TEXT = 8000
"""Characters from which redraws become rarer: each one sends the whole text again."""

REFRESH_HZ = 15.0


class RedrawThrottle:
    """Allows ``refresh_hz`` redraws a second, fewer for long texts."""

    def __init__(self, refresh_hz: float = REFRESH_HZ) -> None:
        self._interval = 1 / refresh_hz
        self._next = 0.0

    def due(self, length: int = 0) -> bool:
        """Return whether output of ``length`` characters may be redrawn now."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._interval * max(1.0, length / LONG_TEXT)
        return True
