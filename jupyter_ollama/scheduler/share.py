"""The share of one user in the slots of a model: tokens spent, slots held, waiting requests."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from .account import Account
from .request import ModelRequest, SlotClaim

IDLE_SECONDS = 2.0
"""Seconds without a request after which a user counts as idle. A user who reads an answer and sends
the next question within this time keeps their balance: tokens that others spent in between count as
spent before."""

AVERAGED_REQUESTS = 8
"""The number of requests in the average cost."""


@dataclass
class MovingAverage:
    """The mean cost of requests in tokens, weighted towards the last few."""

    cost: float = 0.0
    count: int = 0

    def add(self, cost: int) -> None:
        """Add the cost of one more request."""
        self.count = min(self.count + 1, AVERAGED_REQUESTS)
        self.cost += (cost - self.cost) / self.count


@dataclass(eq=False)
class Share:
    """The tokens that one user has spent, their slots, and their waiting requests.

    ``started_at`` is the number of the last start in the queue, ``seen_at`` the time of the last
    request or release.
    """

    account: Account
    spent: float
    mean: MovingAverage
    grants: set[Grant] = field(default_factory=set)
    started_at: int = 0
    seen_at: float = 0.0
    interactive: deque[Waiter] = field(default_factory=deque)
    bulk: deque[Waiter] = field(default_factory=deque)

    @property
    def has_no_requests(self) -> bool:
        """True if the user neither holds a slot nor waits for one."""
        return not (self.grants or self.interactive or self.bulk)

    @property
    def is_idle(self) -> bool:
        """True if the user has sent no request for a while."""
        return self.has_no_requests and self.seen_at < time.monotonic() - IDLE_SECONDS

    @property
    def waiting(self) -> Iterator[Waiter]:
        """The waiting requests, the next one first, without those that were just cancelled."""
        for line in (self.interactive, self.bulk):
            yield from (waiter for waiter in line if not waiter.granted.done())

    def charge(self, tokens: float) -> None:
        """Add tokens to those spent; a negative number is a refund."""
        self.spent += tokens


@dataclass(eq=False)
class Waiter:
    """A waiting claim, and the future that its slot resolves."""

    claim: SlotClaim
    line: deque[Waiter]
    granted: asyncio.Future[Grant]

    @property
    def request(self) -> ModelRequest:
        """The request that waits."""
        return self.claim.request


@dataclass(eq=False)
class Grant:
    """A slot in use. ``advance`` are the tokens charged when it started."""

    claim: SlotClaim
    share: Share
    advance: float
    computed_before: int

    @property
    def request(self) -> ModelRequest:
        """The request that holds the slot."""
        return self.claim.request

    @property
    def cost(self) -> int:
        """The tokens computed since the slot was granted, as far as known."""
        return self.request.computed - self.computed_before
