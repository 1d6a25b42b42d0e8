"""Users of the server: their running and waiting requests, and the tokens spent lately."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

OWNER_NAME = "owner"
"""The name of the owner of a server whose login provides no user names."""


class Dispatcher(Protocol):
    """A queue for slots, as accounts see it."""

    def dispatch(self) -> None:
        """Start the waiting requests that may start now."""


@dataclass(eq=False, kw_only=True)
class Counts:
    """The number of running and waiting claims to slots, updated by `SlotClaim.enter`."""

    running: int = 0
    waiting: int = 0

    def add(self, running: int, waiting: int) -> None:
        """Add the differences that a change of state makes."""
        self.running += running
        self.waiting += waiting


@dataclass(eq=False)
class Account(Counts):
    """One user. Runners know the user by ``number`` alone.

    ``groups`` are those at the last request, ``queues`` those in which requests of the user wait
    for slots. ``mean_seconds`` is the moving average of the duration of a request.
    """

    name: str
    number: int = 0
    groups: tuple[str, ...] = ()
    mean_seconds: float = 1.0
    queues: set[Dispatcher] = field(default_factory=set)

    def add_duration(self, seconds: float) -> None:
        """Add the duration of a request to the average."""
        self.mean_seconds += (seconds - self.mean_seconds) / 8
