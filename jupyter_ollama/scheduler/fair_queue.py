"""The slots of one model: whose request is the next that runs.

Deficit round robin in tokens, with a quantum of one token: the next slot goes to the user who has
had least of the model so far. What a request will cost is not known when it starts, so it is
charged what such requests of its user usually cost, and the difference once it is known. Who comes
back after a while starts level with the others: nobody saves up for later. With one user all of
this is first come first served.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from .queue import Tell
from .ticket import Account, Ticket

GONE = 2.0
"""Seconds after which a user who wants nothing is taken for gone. Who asks, reads and asks again is
not: what others had in between, they had before him."""

RECENT = 60.0
"""For so many seconds after a request a user is expected to come back."""

RESERVED_PART = 8
"""Of so many slots, those who have their share keep one free for such users."""

LAST_FEW = 8
"""So many requests make what is usual."""


@dataclass
class Usual:
    """What requests usually cost in tokens: a mean in which the last few count most."""

    cost: float = 0.0
    seen: int = 0

    def add(self, cost: int) -> None:
        """Take the cost of one more request."""
        self.seen = min(self.seen + 1, LAST_FEW)
        self.cost += (cost - self.cost) / self.seen


@dataclass(eq=False)
class Share:
    """What one user has had of a model in tokens, and the requests that wait for more of it."""

    account: Account
    spent: float
    usual: Usual
    running: int = 0
    served: int = 0
    seen: float = 0.0
    interactive: deque[Waiter] = field(default_factory=deque)
    bulk: deque[Waiter] = field(default_factory=deque)

    @property
    def is_idle(self) -> bool:
        """True if the user wants nothing of the model."""
        return not (self.running or self.interactive or self.bulk)

    @property
    def is_gone(self) -> bool:
        """True if the user has wanted nothing for a while."""
        return self.is_idle and self.seen < time.monotonic() - GONE

    @property
    def waiting(self) -> Iterator[Waiter]:
        """The requests that wait, the next first, but for those that were just cancelled."""
        for line in (self.interactive, self.bulk):
            yield from (waiter for waiter in line if not waiter.turn.done())


@dataclass(eq=False)
class Waiter:
    """A request that waits, and where it is told that its turn has come."""

    ticket: Ticket
    tell: Tell | None
    line: deque[Waiter]
    turn: asyncio.Future[Grant]
    place: int = 0


@dataclass(eq=False)
class Grant:
    """A slot in use, with what was charged for it in advance."""

    ticket: Ticket
    share: Share
    advance: float
    computed_before: int


class FairQueue:
    """Gives out ``slots`` places, in turn to users by what they have spent."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._free = slots
        self._shares: dict[Account, Share] = {}
        self._starts = 0
        self._usual = Usual()

    def may_start(self, ticket: Ticket) -> bool:
        """True if a request would not have to wait."""
        if not self._free or ticket.is_held:
            return False
        share = self._share_of(ticket)
        before = next(share.waiting, None)
        if before and (ticket.is_bulk or not before.ticket.is_bulk):
            return False
        first = self._first()
        if first and first.spent < share.spent:
            return False
        return self._has_room(share, self._reserve())

    async def take(self, ticket: Ticket, tell: Tell | None) -> Grant:
        """Wait for a slot and take it. ``tell`` learns of the place in the queue."""
        share = self._share_of(ticket)
        line = share.bulk if ticket.is_bulk else share.interactive
        waiter = Waiter(ticket, tell, line, asyncio.get_running_loop().create_future())
        line.append(waiter)
        ticket.account.queues.add(self)
        self.give_out()
        if not waiter.turn.done():
            self._tell_places()
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception():
                self.give_back(waiter.turn.result())
            raise
        finally:
            if waiter in line:
                line.remove(waiter)
                self._left(share)
                self._tell_places()

    def give_back(self, grant: Grant) -> None:
        """Give a slot back; the next in line gets it."""
        share, account = grant.share, grant.ticket.account
        cost = grant.ticket.computed - grant.computed_before
        share.spent -= grant.advance
        share.usual.add(cost)
        self._usual.add(cost)
        share.running -= 1
        share.seen = time.monotonic()
        account.running -= 1
        self._free += 1
        # The limit of a user may have held back what he wants of other models.
        for queue in (self, *(account.queues - {self})):
            queue.give_out()

    def give_out(self) -> None:
        """Start what can be started."""
        reserve = self._reserve()
        started = False
        while share := self._next(reserve):
            waiter = next(share.waiting)
            waiter.line.remove(waiter)
            waiter.turn.set_result(self._start(waiter.ticket, share))
            self._left(share)
            started = True
        if started:
            self._tell_places()

    def dismiss(self, error: Exception) -> None:
        """Tell all who wait that they wait for nothing."""
        for share in self._shares.values():
            for waiter in [*share.waiting]:
                if not waiter.turn.done():
                    waiter.turn.set_exception(error)
            share.interactive.clear()
            share.bulk.clear()
            self._left(share)

    def place(self, ticket: Ticket) -> int:
        """Return the place of a request in the queue, 1 for the next, 0 if it does not wait."""
        order = (waiter.ticket for waiter in self._order())
        return next((place for place, one in enumerate(order, 1) if one is ticket), 0)

    def _share_of(self, ticket: Ticket) -> Share:
        share = self._shares.get(ticket.account)
        if share is None:
            self._forget_strangers()
            share = Share(ticket.account, self._level(), Usual(self._usual.cost))
            self._shares[ticket.account] = share
        elif share.is_gone:
            share.spent = max(share.spent, self._level())
        share.seen = time.monotonic()
        return share

    def _level(self) -> float:
        """Return what somebody who comes now is taken to have spent: as much as who had least.

        Where nobody is, what was spent before counts for nobody.
        """
        present = [share.spent for share in self._shares.values() if not share.is_gone]
        return min(present) if present else max((s.spent for s in self._shares.values()), default=0)

    def _forget_strangers(self) -> None:
        before = time.monotonic() - RECENT
        self._shares = {
            account: share
            for account, share in self._shares.items()
            if not share.is_idle or share.seen > before
        }

    def _left(self, share: Share) -> None:
        if not (share.interactive or share.bulk):
            share.account.queues.discard(self)

    def _start(self, ticket: Ticket, share: Share) -> Grant:
        self._starts += 1
        self._free -= 1
        grant = Grant(ticket, share, share.usual.cost, ticket.computed)
        share.spent += grant.advance
        share.served = self._starts
        share.running += 1
        ticket.account.running += 1
        ticket.share = share
        return grant

    def _next(self, reserve: int) -> Share | None:
        """Return the share whose first request is to start now."""
        first = self._first()
        return first if first and self._has_room(first, reserve) else None

    def _first(self) -> Share | None:
        """Return the share that has had least, of those that want more and may have it."""
        ready = (
            share
            for share in self._shares.values()
            if (waiter := next(share.waiting, None)) and not waiter.ticket.is_held
        )
        return min(ready, key=lambda share: (share.spent, share.served), default=None)

    def _has_room(self, share: Share, reserve: int) -> bool:
        if self._free > reserve:
            return True
        return self._free > 0 and share.running < max(1, self._slots // len(self._shares))

    def _reserve(self) -> int:
        """Return how many slots are kept for users who are not here but may be back soon."""
        since = time.monotonic() - RECENT
        away = sum(share.is_idle and share.seen > since for share in self._shares.values())
        return min(away, self._slots // RESERVED_PART)

    def _order(self) -> Iterator[Waiter]:
        """Yield who waits in the order in which they would start if all cost the same."""
        shares = sorted(self._shares.values(), key=lambda share: (share.spent, share.served))
        lines = [share.waiting for share in shares]
        while lines:
            going = [(line, waiter) for line in lines if (waiter := next(line, None))]
            yield from (waiter for _, waiter in going)
            lines = [line for line, _ in going]

    def _tell_places(self) -> None:
        for place, waiter in enumerate(self._order(), 1):
            if waiter.tell and waiter.place != place:
                waiter.place = place
                waiter.tell(place)
