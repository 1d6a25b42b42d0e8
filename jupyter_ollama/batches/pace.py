"""The pace of a batch: it pauses while its rows are refused, and learns how many fit."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from ..scheduler.limits import LimitReached

LONGEST_PAUSE = 60.0
"""Seconds until a refused batch asks again, as a limit may have been raised meanwhile."""

LONGEST_WAIT_FOR_SERVER = 5.0
"""The same where the server refuses, not a limit of the user: for example while it is drained."""

ONE_MORE_AFTER = 32
"""Answers after which one row more is sent at once."""


class Pace:
    """Says when the next row of a batch may be sent, and how many at once."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.reason = ""
        """Why the batch pauses, "" if it does not."""
        self._until = 0.0
        self._limit = math.inf
        self._answers = 0

    def most(self, wanted: int) -> int:
        """Return how many of ``wanted`` rows may be under way."""
        return int(min(wanted, self._limit))

    async def ready(self, is_blocked: Callable[[], bool]) -> None:
        """Wait for the end of a pause, and while the user is blocked."""
        while (pause := self._until - time.monotonic()) > 0 or is_blocked():  # noqa: ASYNC110
            await asyncio.sleep(pause if pause > 0 else LONGEST_WAIT_FOR_SERVER)

    def refused(self, error: LimitReached) -> None:
        """Pause as a refusal says; fewer rows are under way then."""
        longest = LONGEST_PAUSE if error.status == 429 else LONGEST_WAIT_FOR_SERVER
        self._until = time.monotonic() + min(error.retry_after, longest)
        self._limit = max(self.in_flight - 1, 1)
        self._answers = 0
        self.reason = error.message

    def answered(self) -> None:
        """Note an answer: in time one row more is sent at once.

        During a pause, rows sent before the refusal still end: they do not end the pause.
        """
        if time.monotonic() >= self._until:
            self.reason = ""
        self._answers += 1
        if self._answers % ONE_MORE_AFTER == 0:
            self._limit += 1
