"""Users of the server: their running and waiting requests, and the tokens spent lately."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from .sliding_window import SlidingWindow

MINUTE, DAY = 60.0, 86400.0

OWNER_NAME = "owner"
"""The name of the owner of a server whose login provides no user names."""


class Dispatcher(Protocol):
    """A queue for slots, as accounts see it."""

    def dispatch(self) -> None:
        """Start the waiting requests that may start now."""


@dataclass(eq=False, kw_only=True)
class Counts:
    """The number of running and waiting claims to slots, updated by `SlotClaim.enter`.

    ``reserved`` is the largest number of tokens that the running ones are expected to cost.
    """

    running: int = 0
    waiting: int = 0
    reserved: int = 0

    def add(self, running: int, waiting: int, reserved: int) -> None:
        """Add the differences that a change of state makes."""
        self.running += running
        self.waiting += waiting
        self.reserved += reserved


@dataclass(eq=False)
class Account(Counts):
    """One user. Runners know the user by ``number`` alone.

    ``queues`` are those in which requests of the user wait for slots. ``mean_seconds`` is the
    moving average of the duration of a request.
    """

    name: str
    number: int = 0
    mean_seconds: float = 1.0
    minute: SlidingWindow = field(default_factory=lambda: SlidingWindow(MINUTE))
    day: SlidingWindow = field(default_factory=lambda: SlidingWindow(DAY))
    queues: set[Dispatcher] = field(default_factory=set)

    def spend(self, tokens: int) -> None:
        """Count tokens against the budgets."""
        self.minute.add(tokens)
        self.day.add(tokens)

    def add_duration(self, seconds: float) -> None:
        """Add the duration of a request to the average."""
        self.mean_seconds += (seconds - self.mean_seconds) / 8
