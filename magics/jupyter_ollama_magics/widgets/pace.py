"""How often a widget is redrawn while something grows."""

from __future__ import annotations

import time

from ..stream_view import LONG_TEXT

REFRESH_HZ = 15.0


class Pace:
    """Tells when it is time to redraw: REFRESH_HZ times a second, more rarely for long texts."""

    def __init__(self) -> None:
        self._next = 0.0

    def due(self, length: int = 0) -> bool:
        """Tell whether to redraw now what has ``length`` characters."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + max(1.0, length / LONG_TEXT) / REFRESH_HZ
        return True
