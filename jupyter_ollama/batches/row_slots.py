"""The rows of all batches that may be under way at once, shared fairly by users."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class RowSlots:
    """Slots for rows: a free one goes to the user who has the fewest, of those who wait.

    The scheduler orders the requests of rows; the slots bound how many of them it has to order.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._held: Counter[str] = Counter()
        self._waiting: list[tuple[str, Callable[[], int], asyncio.Future[None]]] = []

    @asynccontextmanager
    async def hold(self, user: str, most: Callable[[], int]) -> AsyncIterator[None]:
        """Wait for a slot and hold it in the block. A user has ``most()`` slots at most."""
        ready = asyncio.get_running_loop().create_future()
        waiting = (user, most, ready)
        self._waiting.append(waiting)
        self._grant()
        try:
            await ready
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            if not ready.cancelled():  # granted in the same turn of the event loop
                self._release(user)
            raise
        try:
            yield
        finally:
            self._release(user)

    def _release(self, user: str) -> None:
        self._held[user] -= 1
        self._grant()

    def _grant(self) -> None:
        while self._held.total() < self._total:
            able = [one for one in self._waiting if self._held[one[0]] < max(1, one[1]())]
            if not able:
                return
            chosen = min(able, key=lambda one: self._held[one[0]])
            self._waiting.remove(chosen)
            if not chosen[2].done():
                self._held[chosen[0]] += 1
                chosen[2].set_result(None)
