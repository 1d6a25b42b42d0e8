"""The limits of each user's fetches: at once, per minute, and per day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..budgets.counter import Counter
from ..budgets.periods import DAY, MINUTE
from ..scheduler.limits import LimitReached

if TYPE_CHECKING:
    from .settings import WebSettings

BUSY_SECONDS = 5.0
"""The Retry-After where too many fetches run, whose ends are unknown."""


class _Account:
    """The fetches of one user, and the lock by which their pages are read one at a time."""

    def __init__(self) -> None:
        self.running = 0
        self.requests = Counter(MINUTE)
        self.bytes = Counter(DAY)
        self.reading = asyncio.Lock()


class Allowance:
    """Counts the fetches of users, and refuses those beyond the limits."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._accounts: dict[str, _Account] = {}

    def account(self, user: str) -> _Account:
        """Return the account of a user."""
        return self._accounts.setdefault(user, _Account())

    @contextmanager
    def request(self, user: str) -> Iterator[Callable[[int], object]]:
        """Count a request during the block; yield the counter of its received bytes.

        Raises LimitReached (429).
        """
        account = self.account(user)
        settings = self._settings
        most = settings.web_concurrent
        if most and account.running >= most:
            text = f"{account.running} of your fetches are under way, the limit is {most}"
            raise LimitReached(text, BUSY_SECONDS)
        for window, limit, text in (
            (account.requests, settings.web_requests_per_minute, "fetches a minute"),
            (account.bytes, settings.web_bytes_per_day, "bytes of pages a day"),
        ):
            if limit and (wait := window.wait(limit)):
                raise LimitReached(f"the limit of {limit} {text} is reached", wait)
        account.requests.add(1)
        account.running += 1
        try:
            yield account.bytes.add
        finally:
            account.running -= 1
