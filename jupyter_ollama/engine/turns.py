"""The turns of sets of adapters: each step of a loop computes requests of one set.

A change of the set costs time, since llama.cpp plans its buffers again. So a set keeps its turn for
several steps; but turns are short, so that the streams of the other sets do not pause for long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from .adapters import NO_ADAPTERS

ROUND_SECONDS = 0.2
"""The time in which each set has a turn, where steps are short: about the longest pause of a
stream. A turn has at least one step."""

Takers = dict[int, set[int]]
"""The accounts with requests for each set of adapters."""


class Turns:
    """Chooses the set of the next step.

    The next turn goes to the account with the least time, so that an account gets no more of it by
    the use of several sets, and of its sets to the one that has waited longest. The time of a turn
    is charged to all accounts that have a part in it.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._current = NO_ADAPTERS
        self._started = 0.0
        self._is_over = False
        self._first: int | None = None
        self._spent: dict[int, float] = {}
        self._last: dict[int, int] = {}
        self._count = 0

    def next(self, present: Iterable[tuple[int, int]]) -> int:
        """Return the set of the next step: one of those present, if there are any.

        Each request has its set and its account.
        """
        takers: Takers = {}
        for adapters, account in present:
            takers.setdefault(adapters, set()).add(account)
        now = self._clock()
        if len(takers) < 2:
            self._spent, self._last = {}, {}
            self._begin(next(iter(takers), self._current), now)
        elif (
            self._is_over
            or self._first in takers
            or self._current not in takers
            or now - self._started >= ROUND_SECONDS / len(takers)
        ):
            self._charge(takers, now - self._started)
            chosen = self._first if self._first in takers else self._choose(takers)
            self._begin(chosen, now)
        self._first = None
        return self._current

    def end(self) -> None:
        """End the turn: requests of another set come first, if there are any."""
        self._is_over = True

    def give(self, adapters: int) -> None:
        """Let a set have the next step, if it is present."""
        self._first = adapters

    def _begin(self, adapters: int, now: float) -> None:
        self._current, self._started, self._is_over = adapters, now, False
        self._count += 1
        self._last[adapters] = self._count

    def _charge(self, takers: Takers, seconds: float) -> None:
        """Charge a turn to its accounts; new ones start with the least time of the others."""
        accounts = {account for those in takers.values() for account in those}
        least = min((self._spent[one] for one in accounts if one in self._spent), default=0.0)
        self._spent = {account: self._spent.get(account, least) for account in accounts}
        mine = takers.get(self._current, set())
        for account in mine:
            self._spent[account] += seconds / len(mine)

    def _choose(self, takers: Takers) -> int:
        return min(
            (adapters for adapters in takers if adapters != self._current),
            key=lambda adapters: (
                min(self._spent[account] for account in takers[adapters]),
                self._last.get(adapters, 0),
            ),
        )
