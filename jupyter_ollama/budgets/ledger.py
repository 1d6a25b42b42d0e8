"""The counters of all budgets on one host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from .budget import EVERYONE, GROUP, USER, Budget, Key, matches
from .clock import CLOCK, Clock
from .counter import Counter
from .periods import PERIODS, Calendar


class Spent(NamedTuple):
    """Tokens spent before the start of the server."""

    time: float
    user: str
    groups: tuple[str, ...]
    model: str
    tokens: int


class Dispatcher(Protocol):
    """A queue whose requests a budget can hold back."""

    def dispatch(self) -> None:
        """Start the waiting requests that may start now."""


def holders(user: str, groups: Iterable[str]) -> tuple[str, ...]:
    """Return whose budgets the requests of a user count against."""
    return (USER + user, *(GROUP + group for group in groups), EVERYONE)


class Ledger:
    """Counts tokens against the budgets of users, groups and models.

    Without another store the counts are exact on this host: a request starts only if the tokens
    spent, and those that the running requests may still cost, leave something of each budget.
    """

    def __init__(self, calendar: Calendar | None = None) -> None:
        self.calendar = calendar or Calendar()
        self.clock: Clock = CLOCK
        self.counters: dict[Key, Counter] = {}
        self._past: dict[tuple[str, str], list[tuple[float, str, int]]] = {}
        self._held: set[Dispatcher] = set()

    def restore(self, past: Mapping[str, Iterable[Spent]]) -> None:
        """Count what was spent before the start, by period."""
        found = defaultdict(list)
        for period, rows in past.items():
            for row in rows:
                for holder in holders(row.user, row.groups):
                    found[holder, period].append((row.time, row.model, row.tokens))
        self._past = dict(found)
        for key, counter in self.counters.items():
            self._restore(key, counter)

    def counter(self, key: Key) -> Counter:
        """Return the counter of a budget."""
        counter = self.counters.get(key)
        if counter is None:
            counter = self.counters[key] = Counter(PERIODS[key.period], self.calendar, self.clock)
            self._restore(key, counter)
        return counter

    def _restore(self, key: Key, counter: Counter) -> None:
        spent = self._past.get((key.holder, key.period), ())
        counter.restore(
            (at, tokens)
            for at, model, tokens in spent
            if not key.models or matches(key.models, model)
        )

    def add(self, keys: Iterable[Key], tokens: int, at: float) -> None:
        """Count tokens spent at a time of the ledger's clock."""
        for key in keys:
            counter = self.counter(key)
            counter.add(tokens, at if counter.period.slides else None)

    def reserve(self, budgets: Iterable[Budget], tokens: int) -> None:
        """Reserve what a request that starts may cost; a negative number releases it."""
        for budget in budgets:
            self.counter(budget.key).reserved += tokens
        if tokens < 0:
            self.notify()

    def hold(self, queue: Dispatcher, budgets: Iterable[Budget]) -> None:
        """Have a queue try again once something of the budgets is released."""
        self._held.add(queue)

    def notify(self) -> None:
        """Let the queues try again whose requests a budget holds back."""
        held, self._held = self._held, set()
        for queue in held:
            queue.dispatch()

    # What follows matters where several hosts share the budgets.

    async def confirm(self, budgets: tuple[Budget, ...], tokens: int) -> bool:
        """Return whether a request may start whose reservation of ``tokens`` is counted here."""
        return True

    def recorded_at(self, at: float) -> float | None:
        """Return the time at which a cost is to be recorded, None for the time of the record."""
        return None

    async def look(self, keys: Iterable[Key]) -> None:
        """Learn what the other hosts have spent."""

    async def flushed(self) -> None:
        """Wait until the other hosts can see what this one has spent."""

    keeps_overrides = False
    """Whether limits that an administrator has set for a time are kept for all hosts."""

    def on_overrides(self, changed: Callable[[dict[str, str]], None]) -> None:
        """Call a function when limits were set for a time on any host."""

    async def set_override(self, field: str, value: str) -> None:
        """Set limits for a time on all hosts; "" removes them. Raises StoreLost."""

    def open(self) -> None:
        """Begin to keep contact with the other hosts."""

    async def close(self) -> None:
        """Write what is pending."""

    @property
    def state(self) -> dict[str, object] | None:
        """Whether the other hosts are in contact, for /health; None without other hosts."""
        return None
