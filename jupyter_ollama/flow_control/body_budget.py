"""The memory of the bodies of all requests."""

from __future__ import annotations

import threading

from ..scheduler.limits import LimitReached

SMALL = 2**16
"""The first bytes of each body do not count: a server short of memory still answers prompts."""

_RETRY_SECONDS = 2


class BodyBudget:
    """Counts the bytes of all bodies, in total and by user. Thread-safe."""

    def __init__(self, most: int, most_of_user: int) -> None:
        self._most = most
        self._most_of_user = most_of_user
        self._lock = threading.Lock()
        self._held: dict[str, int] = {}

    @property
    def held(self) -> int:
        """The bytes that are taken now."""
        return sum(self._held.values())

    def take(self, user: str, size: int) -> None:
        """Reserve bytes for a user. Raises LimitReached (503) beyond the bounds."""
        with self._lock:
            held = self._held.get(user, 0)
            if held + size > self._most_of_user or self.held + size > self._most:
                message = "server busy, the bodies of requests take too much memory, please retry"
                raise LimitReached(message, _RETRY_SECONDS, 503)
            self._held[user] = held + size

    def give_back(self, user: str, size: int) -> None:
        """Return bytes that were taken."""
        with self._lock:
            self._held[user] -= size
            if not self._held[user]:
                del self._held[user]


class BodyReservation:
    """The reservation of one body."""

    def __init__(self, budget: BodyBudget, user: str) -> None:
        self._budget = budget
        self._user = user
        self._taken = 0

    def hold(self, size: int) -> None:
        """Grow the reservation for a body of ``size`` bytes. Raises LimitReached (503)."""
        more = size - SMALL - self._taken
        if more > 0:
            self._budget.take(self._user, more)
            self._taken += more

    def close(self) -> None:
        """Return all that was reserved."""
        if self._taken:
            self._budget.give_back(self._user, self._taken)
            self._taken = 0
