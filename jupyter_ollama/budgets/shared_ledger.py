"""Budgets that several hosts share: the same counts on all, or a share of each while alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from .budget import Budget, Key
from .counter import Counter
from .ledger import Dispatcher, Spent
from .periods import Calendar
from .redis_store import RedisStore, StoreLost
from .store_ledger import CHUNK, StoreLedger

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 3.0
RETRY_SECONDS = 1.0
"""The time between two attempts to reach a store that was lost."""

POLL_SECONDS = 0.1
"""The interval at which a host looks whether requests of others, which hold its own back, ended."""


class SharedLedger(StoreLedger):
    """Counts tokens together with other hosts, in a Redis or Valkey.

    Each host writes its own totals, so that nothing counts twice. A call that fails or takes too
    long ends the contact: then each host may spend its part of what was left of a budget, and
    writes what it has spent when the store is back.
    """

    def __init__(self, store: RedisStore, host: str, hosts: int, calendar: Calendar) -> None:
        """``hosts`` is the number of hosts that is assumed until the first contact."""
        super().__init__(store, host, hosts, calendar)
        self._dirty_reserved: set[Key] = set()
        self._will_flush = False
        self._flushing = asyncio.Lock()
        self._contact: asyncio.Task[None] | None = None
        self._poll: asyncio.Task[None] | None = None
        self._polled: set[Key] = set()
        self._tried = asyncio.Event()
        self._lost = asyncio.Event()
        self._was_reported = False

    # Counting

    def counter(self, key: Key) -> Counter:
        """Return the counter of a budget; a new one without contact counts alone."""
        is_new = key not in self.counters
        counter = super().counter(key)
        if is_new and not self.in_contact:
            counter.is_away(self.members.hosts - 1)
        return counter

    def restore(self, past: Mapping[str, Iterable[Spent]]) -> None:
        """Count what was spent before the start, unless the store has it already."""
        late = {key: one for key, one in self.counters.items() if one.is_adopted}
        self.counters = {key: one for key, one in self.counters.items() if key not in late}
        super().restore(past)
        self.counters |= late

    def add(self, keys: Iterable[Key], tokens: int, at: float) -> None:
        """Count tokens, to be written soon."""
        for key in keys:
            counter = self.counter(key)
            bucket = counter.add(tokens, at if counter.period.slides else None)
            if bucket is not None:
                self._dirty.setdefault(key, set()).add(bucket)
        self._flush_soon()

    def reserve(self, budgets: Iterable[Budget], tokens: int) -> None:
        """Reserve tokens; the store learns of it by `confirm`, of their release soon."""
        super().reserve(budgets, tokens)
        if tokens < 0:
            self._dirty_reserved.update(budget.key for budget in budgets)
            self._flush_soon()

    def hold(self, queue: Dispatcher, budgets: Iterable[Budget]) -> None:
        """Have a queue try again once something of the budgets is released, on any host."""
        super().hold(queue, budgets)
        self._polled.update(budget.key for budget in budgets)
        if self.in_contact and self._poll is None:
            self._poll = asyncio.ensure_future(self._look_again())

    async def _look_again(self) -> None:
        """Learn at intervals whether other hosts have ended what holds requests back."""
        try:
            while self._held and self.in_contact:
                await asyncio.sleep(POLL_SECONDS)
                keys, self._polled = self._polled, set()
                await self.look(keys)
                self.notify()
        finally:
            self._poll = None

    # The store

    async def confirm(self, budgets: tuple[Budget, ...], tokens: int) -> bool:
        """Return whether a request may start that has reserved ``tokens`` on this host.

        False means that it has to wait, or that a budget is spent: the counters know. Without
        contact they decide alone.
        """
        await self._first_contact()
        keys = [budget.key for budget in budgets]
        if not self.in_contact or not await self._adopt(keys):
            return True
        looks = [
            self._look(one.key)
            | {"limit": one.limit, "reserved": self.counter(one.key).reserved - tokens}
            for one in budgets
        ]
        reply = await self._write(keys, {"looks": looks, "tokens": tokens})
        if reply is None:
            return True
        self._read(keys, reply)
        return bool(reply["verdict"] == "start")

    def recorded_at(self, at: float) -> float | None:
        """Return the time of the hosts' clock, so that a record belongs to the bucket it is in."""
        return at

    async def look(self, keys: Iterable[Key]) -> None:
        """Learn what the other hosts have spent and reserved."""
        await self._first_contact()
        wanted = [*keys]
        if self.in_contact and await self._adopt(wanted):
            reply = await self._write(wanted, {"looks": [*map(self._look, wanted)]})
            if reply is not None:
                self._read(wanted, reply)

    async def _first_contact(self) -> None:
        if not self._tried.is_set():
            self.open()
            await _wait(self._tried, self._store.timeout)

    def _flush_soon(self) -> None:
        if self.in_contact and not self._will_flush:
            self._will_flush = True
            asyncio.ensure_future(self.flushed())  # noqa: RUF006 - the lock and the loop keep it

    async def flushed(self) -> None:
        """Write what was spent and released; without contact, leave it for later."""
        async with self._flushing:
            self._will_flush = False
            if not (self._dirty_reserved or self._dirty) or not self.in_contact:
                return
            keys = [*self._dirty]
            if await self._adopt(keys):
                released, self._dirty_reserved = self._dirty_reserved, set()
                await self._write(keys, {"reserved": [*map(self._reserved, released)]})

    # Limits for a time

    keeps_overrides = True

    def on_overrides(self, changed: Callable[[dict[str, str]], None]) -> None:
        """Call a function when limits were set for a time on any host."""
        self.members.on_overrides = changed

    async def set_override(self, field: str, value: str) -> None:
        """Set limits for a time on all hosts; "" removes them. Raises StoreLost."""
        await self._first_contact()
        if not self.in_contact:
            raise StoreLost("the store of the budgets is away")
        await self.members.set_override(field, value)

    # The contact

    def open(self) -> None:
        """Begin to keep contact; needs the running event loop."""
        if self._contact is None:
            self._contact = asyncio.ensure_future(self._keep_contact())

    async def close(self) -> None:
        """Write what is pending and end the contact."""
        if self._contact is None:
            return
        await self.flushed()
        for task in (self._contact, self._poll):
            if task:
                task.cancel()
        await asyncio.gather(self._contact, return_exceptions=True)
        await self.members.leave()

    async def _keep_contact(self) -> None:
        while True:
            self._lost.clear()
            try:
                if self.in_contact:
                    await self._call({})
                    await self.flushed()
                else:
                    await self._return()
            except StoreLost as error:
                self._lose(error)
            except Exception:
                log.exception("The store of the budgets cannot be used")
            self._tried.set()
            seconds = HEARTBEAT_SECONDS if self.in_contact else RETRY_SECONDS
            await _wait(self._lost, seconds)

    async def _return(self) -> None:
        """Write all totals, since the store may have lost some, and count together again."""
        await self._call({})
        self._store.is_new = False
        keys = [*self.counters]
        for start in range(0, len(keys), CHUNK):
            part = keys[start : start + CHUNK]
            new = [key for key in part if not self.counters[key].is_adopted]
            if new:
                await self._read_own(new)
            entries = [self._entry(key, [*self.counters[key].own.by_bucket]) for key in part]
            query = {"spent": [one for one in entries if one], "looks": [*map(self._look, part)]}
            reply = await self._call(query | {"reserved": [*map(self._reserved, part)]})
            self._read(part, reply)
        if self._store.is_new:
            raise StoreLost("the connection was closed")
        self.in_contact = True
        for counter in self.counters.values():
            counter.is_away(0)
        again = " again" if self._was_reported else ""
        hosts = self.members.hosts
        log.info("Budgets are shared%s by %d hosts: %s", again, hosts, self._store.address)
        self._was_reported = False
        self.notify()
        self._flush_soon()

    def _lose(self, error: StoreLost) -> None:
        """Count alone from now on, as one of several hosts."""
        hosts = self.members.hosts
        if not self._was_reported:
            self._was_reported = True
            log.error(
                "Budgets are counted on this host alone, as one of %d: %s: %s",
                hosts,
                self._store.address,
                error,
            )
        if self.in_contact:
            self.in_contact = False
            for counter in self.counters.values():
                counter.is_away(hosts - 1)
            self._lost.set()
            self.notify()

    @property
    def state(self) -> dict[str, object] | None:
        """Whether the hosts count together, for /health."""
        return {
            "store": self._store.address,
            "state": "shared" if self.in_contact else "alone",
            "hosts": self.members.hosts,
        }


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, so many seconds at most."""
    # asyncio.wait_for of Python 3.11 can miss a cancellation.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
