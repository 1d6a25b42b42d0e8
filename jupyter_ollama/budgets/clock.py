"""A clock for sliding periods, which a change of the host's time does not move."""

from __future__ import annotations

import time

TOLERANCE = 0.25
"""Seconds by which two clocks may differ before one is set by the other."""


class Clock:
    """Seconds since the epoch: those of the host when the clock was made, then monotonic time."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the time in seconds."""
        return time.monotonic() + self._offset

    def follow(self, other: float) -> None:
        """Set the clock by another one, which several hosts follow."""
        if abs(other - self.now()) > TOLERANCE:
            self._offset = other - time.monotonic()


CLOCK = Clock()
