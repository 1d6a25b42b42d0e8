"""The slots of one model, and the order in which requests get them.

Deficit round robin (Shreedhar and Varghese, "Efficient Fair Queueing Using Deficit Round Robin",
SIGCOMM 1995) in tokens, with a quantum of one token: the next slot goes to the user who has spent
the fewest tokens on the model. The cost of a request is unknown when it starts. So its user is
charged the mean cost of their last requests in advance, and the difference once the cost is known.
A returning user starts with the same balance as active users: an idle user accumulates no credit.
With one user the order is first come, first served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from .account import Account
from .request import ModelRequest, SlotClaim, State
from .share import Grant, MovingAverage, Share, Waiter

RECENT_SECONDS = 60.0
"""For this long after a request its user is expected to send another one."""

SLOTS_PER_RESERVED = 8
"""One of this many slots is kept free for such users."""


class FairQueue:
    """Grants ``slots`` slots, the next one to the user who has spent the fewest tokens."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._shares: dict[Account, Share] = {}
        self._starts = 0
        self._mean = MovingAverage()

    @property
    def claims(self) -> int:
        """The number of claims that hold a slot or wait for one."""
        shares = self._shares.values()
        return sum(len(one.grants) + len(one.interactive) + len(one.bulk) for one in shares)

    @property
    def is_recent(self) -> bool:
        """True if a user has a claim, or had one so lately that their balance still matters."""
        self._drop_old_shares()
        return bool(self._shares)

    @property
    def _free(self) -> int:
        return self._slots - sum(len(share.grants) for share in self._shares.values())

    def resize(self, slots: int) -> None:
        """Change the number of slots. Requests that run beyond it go on."""
        grown = slots > self._slots
        self._slots = slots
        if grown:
            self.dispatch()

    def may_start(self, request: ModelRequest) -> bool:
        """True if a request would get a slot at once."""
        share = self._share_of(request)
        if not self._free or self._is_limited(request, share):
            return False
        before = next(share.waiting, None)
        if before and (request.is_bulk or not before.request.is_bulk):
            return False
        first = self._first()
        if first and first.spent < share.spent:
            return False
        return self._has_slot_for(share, self._reserved_slots())

    async def acquire(self, claim: SlotClaim) -> Grant:
        """Wait for a slot and take it."""
        share = self._share_of(claim.request)
        line = share.bulk if claim.request.is_bulk else share.interactive
        waiter = Waiter(claim, line, asyncio.get_running_loop().create_future())
        line.append(waiter)
        share.account.queues.add(self)
        self.dispatch()
        if not waiter.granted.done():
            claim.enter(State.QUEUED)
            self._report_positions()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if granted.done() and not granted.cancelled() and not granted.exception():
                self.release(granted.result())
            raise
        finally:
            if claim.state is State.QUEUED:
                claim.enter(State.PREPARING)
            if waiter in line:
                line.remove(waiter)
                self._update_queues_of(share)
                self._report_positions()

    def release(self, grant: Grant) -> bool:
        """Release a slot and grant it to the next request. Returns False if it was released."""
        share = grant.share
        if grant not in share.grants:
            return False
        share.grants.remove(grant)
        share.charge(-grant.advance)
        share.mean.add(grant.cost)
        self._mean.add(grant.cost)
        share.seen_at = time.monotonic()
        grant.claim.enter(State.DONE)
        # The user's limit may have held back requests for other models.
        for queue in (self, *(share.account.queues - {self})):
            queue.dispatch()
        return True

    def put_back(self, grant: Grant) -> None:
        """Take back a slot whose request may not start yet, and has cost nothing."""
        grant.share.grants.discard(grant)
        grant.share.charge(-grant.advance)
        grant.claim.enter(State.PREPARING)
        self.dispatch()

    def dispatch(self) -> None:
        """Start the waiting requests that may start now."""
        reserved = self._reserved_slots()
        started = False
        while share := self._next(reserved):
            waiter = next(share.waiting)
            waiter.line.remove(waiter)
            waiter.granted.set_result(self._grant(waiter.claim, share))
            self._update_queues_of(share)
            started = True
        if started:
            self._report_positions()

    def fail(self, error: Exception) -> None:
        """Raise an error in all waiting requests."""
        for share in self._shares.values():
            for waiter in [*share.waiting]:
                waiter.granted.set_exception(error)
            share.interactive.clear()
            share.bulk.clear()
            self._update_queues_of(share)

    def _share_of(self, request: ModelRequest) -> Share:
        account = request.account
        share = self._shares.get(account)
        if share is None:
            self._drop_old_shares()
            mean = MovingAverage(self._mean.cost)
            share = self._shares[account] = Share(account, self._initial_balance(), mean)
        elif share.is_idle:
            share.spent = max(share.spent, self._initial_balance())
        share.seen_at = time.monotonic()
        return share

    def _initial_balance(self) -> float:
        """Return the tokens that a new or returning user counts as having spent.

        It is the least balance of the active users. Without active users it is the greatest
        balance, so that earlier costs give no user an advantage.
        """
        active = [share.spent for share in self._shares.values() if not share.is_idle]
        return min(active) if active else max((s.spent for s in self._shares.values()), default=0)

    def _drop_old_shares(self) -> None:
        before = time.monotonic() - RECENT_SECONDS
        self._shares = {
            account: share
            for account, share in self._shares.items()
            if not share.has_no_requests or share.seen_at > before
        }

    def _update_queues_of(self, share: Share) -> None:
        """Remove this queue from those of the account if no request of the user waits in it."""
        if not (share.interactive or share.bulk):
            share.account.queues.discard(self)

    def _grant(self, claim: SlotClaim, share: Share) -> Grant:
        self._starts += 1
        grant = Grant(claim, share, share.mean.cost, claim.request.computed)
        share.grants.add(grant)
        share.charge(grant.advance)
        share.started_at = self._starts
        claim.request.charge_to(share.charge)
        claim.enter(State.RUNNING)
        return grant

    def _next(self, reserved: int) -> Share | None:
        """Return the share whose first request starts now."""
        first = self._first()
        return first if first and self._has_slot_for(first, reserved) else None

    def _first(self) -> Share | None:
        """Return the share with the fewest tokens spent among those with a request that may run."""
        ready = (
            share
            for share in self._shares.values()
            if (waiter := next(share.waiting, None)) and not self._is_limited(waiter.request, share)
        )
        return min(ready, key=lambda share: (share.spent, share.started_at), default=None)

    def _is_limited(self, request: ModelRequest, share: Share) -> bool:
        """True if a budget or a limit of slots, of all models or of this one, lets it not start."""
        if request.is_limited or request.budgets.holds_back(self):
            return True
        fraction = request.slot_fraction
        most = self._slots if fraction is None else max(1, int(self._slots * fraction))
        return len(share.grants) >= most

    def _has_slot_for(self, share: Share, reserved: int) -> bool:
        """True if a slot is free for a user; reserved ones are for users below an equal share."""
        if self._free > reserved:
            return True
        return self._free > 0 and len(share.grants) < max(1, self._slots // len(self._shares))

    def _reserved_slots(self) -> int:
        """Return the number of slots kept free for users who are expected to return."""
        since = time.monotonic() - RECENT_SECONDS
        away = sum(one.has_no_requests and one.seen_at > since for one in self._shares.values())
        return min(away, self._slots // SLOTS_PER_RESERVED)

    def _order(self) -> Iterator[Waiter]:
        """Yield the waiting requests in the order of their starts if all cost the same."""
        shares = sorted(self._shares.values(), key=lambda share: (share.spent, share.started_at))
        lines = [share.waiting for share in shares]
        while lines:
            round_ = [(line, waiter) for line in lines if (waiter := next(line, None))]
            yield from (waiter for _, waiter in round_)
            lines = [line for line, _ in round_]

    def _report_positions(self) -> None:
        for position, waiter in enumerate(self._order(), 1):
            waiter.claim.move_to(position)
