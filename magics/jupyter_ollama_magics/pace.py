"""How often what grows is redrawn."""

from __future__ import annotations

import time

LONG_TEXT = 8000
"""Characters from where on updates become rarer: each one sends the whole text again."""

REFRESH_HZ = 15.0


class Pace:
    """Tells when to redraw: ``refresh_hz`` times a second, more rarely for long texts."""

    def __init__(self, refresh_hz: float = REFRESH_HZ) -> None:
        self._interval = 1 / refresh_hz
        self._next = 0.0

    def due(self, length: int = 0) -> bool:
        """Tell whether to redraw now what has ``length`` characters."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._interval * max(1.0, length / LONG_TEXT)
        return True
