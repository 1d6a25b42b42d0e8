"""The budgets of one request: what it counts against, and whether it may start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from .budget import Budget, Key, matches
from .ledger import Dispatcher, Ledger, holders
from .periods import PERIODS

LONG = 90.0
"""A wait of more seconds is stated with its end, too."""


class Refusal(NamedTuple):
    """Why a request may not run, and in how many seconds it may."""

    message: str
    seconds: float


class Reservation(NamedTuple):
    """Tokens that a running request may cost."""

    ledger: Ledger | None
    budgets: tuple[Budget, ...]
    tokens: int

    def release(self) -> None:
        """Give the tokens back."""
        if self.ledger:
            self.ledger.reserve(self.budgets, -self.tokens)


class RequestBudgets:
    """The budgets of one request. Those of single models count once its model is known."""

    def __init__(
        self,
        ledger: Ledger | None = None,
        user: str = "",
        groups: Iterable[str] = (),
        budgets: Iterable[Budget] = (),
    ) -> None:
        """Without a ledger nothing is counted: the server's own work."""
        self._ledger = ledger
        self._given = tuple(budgets)
        self.budgets = tuple(budget for budget in self._given if not budget.key.models)
        self._keys: set[Key] = set()
        if ledger:
            mine = holders(user, groups)
            self._keys = {Key(holder, "", period) for holder in mine for period in PERIODS}
        self._at: float | None = None

    def choose(self, model: str) -> None:
        """Count against the budgets of a model, too."""
        self.budgets = tuple(
            one for one in self._given if not one.key.models or matches(one.key.models, model)
        )
        self._keys |= {budget.key for budget in self.budgets}

    def used(self) -> Iterator[tuple[Budget, int]]:
        """Yield each budget with the tokens used."""
        if self._ledger:
            for budget in self.budgets:
                yield budget, self._ledger.counter(budget.key).total

    def refusal(self) -> Refusal | None:
        """Return why a budget lets the request not run, None if all do."""
        for budget, used in self.used():
            assert self._ledger
            if used < budget.limit:
                continue
            seconds = self._ledger.counter(budget.key).wait(budget.limit)
            text = f"{budget.spent(used)}; try again in {readable(seconds)}"
            if seconds > LONG:
                text += f" ({self._ledger.calendar.moment(time.time() + seconds)})"
            return Refusal(text, seconds)
        return None

    def warning(self) -> str:
        """Return a sentence about the budget that is the closest to its end, "" if none is close.

        Budgets with ``soft`` are close from that part of them on.
        """
        close = [
            (used / budget.limit, budget.spent(used))
            for budget, used in self.used()
            if budget.soft is not None and used >= budget.soft * budget.limit
        ]
        return max(close)[1] if close else ""

    def holds_back(self, queue: Dispatcher) -> bool:
        """True if the request must wait for the end of others, whose cost may end a budget.

        ``queue`` tries again as soon as one has ended.
        """
        if self._ledger is None:
            return False
        counter = self._ledger.counter
        tight = [one for one in self.budgets if counter(one.key).holds_back(one.limit)]
        if tight:
            self._ledger.hold(queue, tight)
        return bool(tight)

    def reserve(self, tokens: int) -> Reservation:
        """Reserve tokens until the reservation is released."""
        reservation = Reservation(self._ledger, self.budgets, tokens)
        if self._ledger:
            self._ledger.reserve(self.budgets, tokens)
        return reservation

    async def confirm(self, tokens: int) -> bool:
        """Return whether the request, which has reserved ``tokens``, may start on any host."""
        if self._ledger is None or not self.budgets:
            return True
        return await self._ledger.confirm(self.budgets, tokens)

    @property
    def recorded_at(self) -> float | None:
        """The time at which the cost is to be recorded, None for the time of the record."""
        return self._ledger.recorded_at(self._at) if self._ledger and self._at else None

    def spend(self, tokens: int) -> None:
        """Count a part of the cost. All parts count at the time of the first."""
        if self._ledger:
            self._at = self._at or self._ledger.clock.now()
            self._ledger.add(self._keys, tokens, self._at)


def readable(seconds: float) -> str:
    """Return a duration for people."""
    units: tuple[tuple[float, str, Callable[[float], str]], ...] = (
        (90, "s", lambda number: f"{number:.0f}"),
        (5400, "min", lambda number: f"{number / 60:.0f}"),
        (172800, "h", lambda number: f"{number / 3600:.1f}"),
        (float("inf"), "days", lambda number: f"{number / 86400:.1f}"),
    )
    return next(f"{form(seconds)} {unit}" for most, unit, form in units if seconds < most)
