"""A circuit breaker: an upstream that fails is left out for a time, then tried by one request."""

from __future__ import annotations

import random
import time

from .failure import Kind

FAILURES = 3
"""Failures in a row after which an upstream that can be reached is left out."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Seconds for which an upstream is left out; each further failure doubles them."""


class Breaker:
    """Decides whether requests may go to an upstream."""

    def __init__(self) -> None:
        self._failures = 0
        self._pause = 0.0
        self._until = 0.0
        self._tried = False

    @property
    def is_closed(self) -> bool:
        """True while the upstream takes requests as far as is known."""
        return not self._pause

    @property
    def is_due(self) -> bool:
        """True if one request may try whether the upstream works again."""
        return bool(self._pause) and not self._tried and time.monotonic() >= self._until

    @property
    def wait(self) -> float:
        """Seconds until then, one at least where a request tries it now."""
        return max(1.0 if self._tried else 0.0, self._until - time.monotonic())

    def begin(self) -> bool:
        """Count a request that goes to the upstream; return whether it is the one that tries it."""
        self._tried = not self.is_closed
        return self._tried

    def end(self) -> None:
        """End the trial of a request that has found out nothing."""
        self._tried = False

    def hint(self) -> None:
        """Let a request try the upstream now: it answers other questions again."""
        self._until = min(self._until, time.monotonic())

    def succeed(self) -> None:
        """Close: the upstream has begun to answer."""
        self._failures = 0
        self._pause = 0.0
        self._tried = False

    def fail(self, kind: Kind) -> None:
        """Count a failure, and open if it is one too many."""
        self._tried = False
        if kind in (Kind.REQUEST, Kind.MISSING, Kind.ERROR):
            # What a user sends may cause these, and must not shut the others out.
            return
        self._failures += 1
        if kind is Kind.DOWN or self._pause or self._failures >= FAILURES:
            self._pause = min(LONGEST_PAUSE, self._pause * 2 or FIRST_PAUSE)
            self._until = time.monotonic() + self._pause * random.uniform(0.8, 1.2)
