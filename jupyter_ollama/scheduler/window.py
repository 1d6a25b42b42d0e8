"""Sums over a time that moves on: the last minute, the last day."""

from __future__ import annotations

import time
from collections import deque

PARTS = 288
"""Into so many parts a window is cut; a part leaves it as a whole."""


class Window:
    """The sum of what was added in the last ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._part = seconds / PARTS
        self._parts: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, amount: int, at: float | None = None) -> None:
        """Add what was spent ``at`` a time (of time.time(), in order), by default now."""
        at = time.time() if at is None else at
        if self._parts and at - self._parts[-1][0] < self._part:
            begun, before = self._parts.pop()
            self._parts.append((begun, before + amount))
        else:
            self._parts.append((at, amount))
        self._total += amount

    @property
    def total(self) -> int:
        """The sum as it is now."""
        now = time.time()
        while self._parts and self._parts[0][0] <= now - self.seconds:
            self._total -= self._parts.popleft()[1]
        return self._total

    def wait(self, limit: int) -> float:
        """Return the seconds until the sum is below ``limit``, 0 if it is."""
        total = self.total
        for begun, amount in self._parts:
            if total < limit:
                break
            total -= amount
            over = begun + self.seconds - time.time()
        return max(0.0, over) if self.total >= limit else 0.0
