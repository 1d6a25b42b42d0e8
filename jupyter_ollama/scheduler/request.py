"""Requests under way: identity, state, cost and cancellation of each in one record."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from ..budgets.request_budgets import RequestBudgets, Reservation
from ..engine.protocol import OWN_PREFIXES, PrefixSharing
from .account import Account, Counts
from .limits import NO_LIMITS, LimitReached, Limits

OnPosition = Callable[[int], None]
"""Called with the position of a request in its queue, 1 for the next, 0 while its model loads."""


class State(StrEnum):
    """The states of a request for a model. LOADING and QUEUED requests count as waiting."""

    PREPARING = "preparing"
    LOADING = "loading"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


WAITING = (State.LOADING, State.QUEUED)


@dataclass(eq=False, kw_only=True)
class RequestRecord:
    """A request under way: its sender, how it is cancelled, when it began and ended.

    Times are those of time.perf_counter(), 0 before the event. ``on_cancel`` is None for requests
    that cannot be cancelled. ``on_end`` is called once the request has ended and its cost is known.
    """

    user: str = ""
    groups: tuple[str, ...] = ()
    path: str = ""
    request_id: str = ""
    model: str = ""
    on_cancel: Callable[[], None] | None = None
    on_end: Callable[[Any], None] = lambda _: None
    is_cancelled: bool = False
    opened: float = field(default_factory=time.perf_counter)
    closed: float = 0.0
    status: int = 0

    def cancel(self) -> bool:
        """End the work of the request, whose client gets an error; return False the second time."""
        if self.is_cancelled or not self.on_cancel:
            return False
        self.is_cancelled = True
        self.on_cancel()
        return True

    def close(self, status: int) -> None:
        """End the request, which was answered with an HTTP status."""
        self.status = status
        self.closed = time.perf_counter()
        self._end_if_settled()

    def _end_if_settled(self) -> None:
        self.on_end(self)


@dataclass(eq=False)
class ModelRequest(RequestRecord):
    """A request that runs a model, with its limits and its cost.

    - ``bulk``: the priority that the client named, None for none.
    - ``budgets``: the budgets of tokens that it counts against.
    - ``on_commit``: records the cost, so that it counts even if the server is killed afterwards.
    - ``sharing``: the computed prefixes that the request may use.
    - ``slot_fraction``: the fraction of a model's slots that its user may hold, None for all.
    - ``may_manage``: whether its user may change models, and thus decide how they are loaded.
    - ``ignored``: the options of the request that had no effect, as the user may not manage.
    - ``streams``: whether the answer is sent while it is generated.
    - ``upstream``: the name of the upstream that answers it, "" for this server.
    - ``body_tokens``: an estimate of the tokens in the body by its bytes.
    - ``expected_tokens``: the most tokens that the request is expected to cost.
    - ``waited``, ``generating``: seconds until slots were free, and of token generation.
    - ``once``: the id under which its cost is recorded once, "" for none.
    - ``is_recorded``: whether its cost is recorded at all.
    """

    account: Account
    limits: Limits = NO_LIMITS
    budgets: RequestBudgets = field(default_factory=RequestBudgets)
    on_commit: Callable[[Any], Awaitable[None]] | None = None
    bulk: bool | None = None
    sharing: PrefixSharing = OWN_PREFIXES
    slot_fraction: float | None = None
    may_manage: bool = True
    ignored: set[str] = field(default_factory=set)
    streams: bool = False
    digest: str = ""
    upstream: str = ""
    body_tokens: int = 0
    expected_tokens: int = 0
    waited: float = 0.0
    first_text_at: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    generating: float = 0.0
    claims: list[SlotClaim] = field(default_factory=list)
    once: str = ""
    is_recorded: bool = True
    number: int = field(default_factory=count(1).__next__)
    _charge: Callable[[int], None] | None = None
    _unsettled: int = 0
    _uncommitted: bool = False
    _late: list[Reservation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.user = self.account.name

    @property
    def state(self) -> State:
        """The state of the request.

        QUEUED while at least one claim is queued; RUNNING from the first slot until the answer is
        sent.
        """
        if self.closed:
            return State.DONE
        states = {claim.state for claim in self.claims}
        if State.QUEUED in states:
            return State.QUEUED
        if self._charge:
            return State.RUNNING
        return State.LOADING if State.LOADING in states else State.PREPARING

    @property
    def position(self) -> int | None:
        """The position in the queue for slots, 1 for the next, None if the request is not in it."""
        queued = [claim for claim in self.claims if claim.state is State.QUEUED]
        return min((claim.position or 0 for claim in queued), default=None)

    @property
    def computed(self) -> int:
        """Tokens that a device had to compute."""
        return self.prompt_tokens - self.cached_tokens + self.generated_tokens

    @property
    def recorded_at(self) -> float | None:
        """The time at which the cost is to be recorded, None for the time of the record."""
        return self.budgets.recorded_at

    @property
    def is_bulk(self) -> bool:
        """True if the other requests of its user go first.

        Without a priority from the client: an answer that is not streamed, requested while other
        requests of the user wait.
        """
        if self.bulk is not None:
            return self.bulk
        return not self.streams and self.account.waiting > 0

    @property
    def is_limited(self) -> bool:
        """True if it may start only after another request of its user has ended."""
        most = self.limits.concurrent
        return most is not None and self.account.running >= most

    def check_budgets(self) -> None:
        """Raise LimitReached if a budget of tokens is spent."""
        if refusal := self.budgets.refusal():
            raise LimitReached(*refusal)

    def begin(self) -> None:
        """Expect one more `settle`."""
        self._unsettled += 1

    def first_text(self) -> None:
        """Record the time of the first text of the answer."""
        self.first_text_at = self.first_text_at or time.perf_counter()

    def settle(self, prompt: int, cached: int, generated: int, duration: int) -> None:
        """Add a cost, which may arrive after the request was cancelled and its slot released."""
        self._unsettled -= 1
        self.prompt_tokens += prompt
        self.cached_tokens += cached
        self.generated_tokens += generated
        self.generating += duration / 1e9
        self.budgets.spend(prompt + generated)
        self._uncommitted = True
        if self._charge:
            self._charge(prompt - cached + generated)
        if not self._unsettled:
            late, self._late = self._late, []
            for reservation in late:
                reservation.release()
        self._end_if_settled()

    async def commit(self) -> None:
        """Record the cost so far, if budgets depend on it, before the client gets the answer."""
        if self._uncommitted and self.on_commit and self.budgets.budgets:
            self._uncommitted = False
            await self.on_commit(self)

    def release(self, reservation: Reservation) -> None:
        """Give back what a slot has reserved, once the cost is known that takes its place."""
        if self._unsettled:
            self._late.append(reservation)
        else:
            reservation.release()

    def charge_to(self, charge: Callable[[int], None]) -> None:
        """Pass the computed tokens of each cost to ``charge`` from now on."""
        self._charge = charge

    def _end_if_settled(self) -> None:
        if self.closed and not self._unsettled:
            self.on_end(self)


class SlotClaim:
    """The claim of a request to one slot of a model, from the load to the release of the slot.

    A request for several answers has several claims.
    """

    def __init__(
        self,
        request: ModelRequest,
        on_position: OnPosition | None = None,
        total: Counts | None = None,
    ) -> None:
        """The claim counts for its account, and for ``total`` if that is given."""
        self.request = request
        self.state = State.PREPARING
        self.position: int | None = None
        self._on_position = on_position
        self._counts = (request.account, total) if total else (request.account,)
        self._reservation: Reservation | None = None
        request.claims.append(self)

    @property
    def reserved(self) -> int:
        """The tokens that its request is expected to cost at most while it has the slot."""
        return max(1, self.request.expected_tokens)

    def enter(self, state: State) -> None:
        """Change the state and update the counters that follow it. DONE is final."""
        if self.state is State.DONE:
            return
        running = (state is State.RUNNING) - (self.state is State.RUNNING)
        waiting = (state in WAITING) - (self.state in WAITING)
        self.state = state
        if state is not State.LOADING:
            self.position = None
        for counts in self._counts:
            counts.add(running, waiting)
        if running > 0:
            self._reservation = self.request.budgets.reserve(self.reserved)
        elif self._reservation:
            reservation, self._reservation = self._reservation, None
            self.request.release(reservation)
        if state is State.DONE:
            self.request.claims.remove(self)

    def move_to(self, position: int) -> None:
        """Change the position in the queue and report it to the client."""
        if position != self.position:
            self.position = position
            if self._on_position:
                self._on_position(position)


current_request: ContextVar[ModelRequest | None] = ContextVar("current_request", default=None)
"""The request that this task serves, None for the server's own work."""
