"""Sums over a sliding window of time: the last minute, the last day."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

BUCKETS = 288
"""The number of buckets in a window; a bucket leaves it as a whole."""


class SlidingWindow:
    """The sum of the amounts added in the last ``seconds``.

    It uses the monotonic clock: a change of the host's time does not lock users out.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._bucket_seconds = seconds / BUCKETS
        self._buckets: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, amount: int, at: float | None = None) -> None:
        """Add an amount spent ``at`` a time (of time.time(), in order), by default now.

        Amounts with a time in the future are dropped, as in `prepend`.
        """
        ago = 0.0 if at is None else time.time() - at
        if ago < 0:
            return
        at = time.monotonic() - ago
        if self._buckets and at - self._buckets[-1][0] < self._bucket_seconds:
            begun, before = self._buckets.pop()
            self._buckets.append((begun, before + amount))
        else:
            self._buckets.append((at, amount))
        self._total += amount

    def prepend(self, parts: Sequence[tuple[float, int]]) -> None:
        """Add amounts spent before those in the window, as (time, amount) in order.

        Times are those of time.time(). Records with a time in the future were written while the
        clock was wrong, and are dropped.
        """
        wall, now = time.time(), time.monotonic()
        known = [(now - (wall - at), amount) for at, amount in parts if at <= wall]
        self._buckets.extendleft(reversed(known))
        self._total += sum(amount for _, amount in known)

    @property
    def total(self) -> int:
        """The current sum."""
        now = time.monotonic()
        while self._buckets and self._buckets[0][0] <= now - self.seconds:
            self._total -= self._buckets.popleft()[1]
        return self._total

    def wait(self, limit: int) -> float:
        """Return the seconds until the sum is below ``limit``, 0 if it is already."""
        total = self.total
        for begun, amount in self._buckets:
            if total < limit:
                break
            total -= amount
            over = begun + self.seconds - time.monotonic()
        return max(0.0, over) if self.total >= limit else 0.0
