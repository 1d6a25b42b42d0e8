"""The calls by which a host reads and writes the counts that several hosts share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from .budget import Key
from .clock import Clock
from .counter import Counter
from .ledger import Ledger
from .membership import Membership
from .periods import Calendar
from .redis_store import RedisStore, StoreLost

CHUNK = 500
"""The most counters in one call, which takes the store some milliseconds."""

KEPT_SECONDS = 7 * 86400
"""The time that the store keeps the counts of a period that is over."""

Taken = dict[Key, set[int]]
"""Buckets of counters."""


class StoreLedger(Ledger):
    """Counters that are written to a store, and read from it."""

    def __init__(self, store: RedisStore, host: str, hosts: int, calendar: Calendar) -> None:
        """``hosts`` is the number of hosts that is assumed until the first contact."""
        super().__init__(calendar)
        self.clock = Clock()
        self.in_contact = False
        self.members = Membership(store, host, hosts, self.clock)
        self._store = store
        self._dirty: Taken = {}

    @abstractmethod
    def _lose(self, error: StoreLost) -> None:
        """Count alone from now on."""

    async def _write(self, keys: Iterable[Key], query: dict[str, Any]) -> dict[str, Any] | None:
        """Send what is not written of some counters with a query; return None without contact."""
        taken = {key: buckets for key in keys if (buckets := self._dirty.pop(key, None))}
        entries = (self._entry(key, buckets) for key, buckets in taken.items())
        try:
            return await self._call(query | {"spent": [one for one in entries if one]})
        except StoreLost as error:
            self._lose(error)
            return None
        except BaseException:
            for key, buckets in taken.items():
                self._dirty.setdefault(key, set()).update(buckets)
            raise

    async def _adopt(self, keys: Iterable[Key]) -> bool:
        """Learn once what this host had written before its start; return False without contact."""
        new = [key for key in keys if not self.counter(key).is_adopted]
        try:
            for start in range(0, len(new), CHUNK):
                await self._read_own(new[start : start + CHUNK])
        except StoreLost as error:
            self._lose(error)
            return False
        return True

    async def _read_own(self, keys: list[Key]) -> None:
        reply = await self._call({"looks": [*map(self._look, keys)], "own": True})
        self._read(keys, reply)
        for key, found in zip(keys, reply["looks"] or (), strict=True):
            counter = self.counter(key)
            if not counter.is_adopted:
                counter.adopt(_amounts(found["own"]))
                self._dirty.setdefault(key, set()).update(counter.own.by_bucket)

    def _read(self, keys: Iterable[Key], reply: Mapping[str, Any]) -> None:
        for key, found in zip(keys, reply["looks"] or (), strict=True):
            counter = self.counter(key)
            counter.others.replace(_amounts(found["others"]))
            counter.reserved_elsewhere = found["reserved"]

    async def _call(self, query: dict[str, Any]) -> dict[str, Any]:
        """Run the script. Raises StoreLost, also if the store may have lost what was written."""
        reply = await self.members.call(query)
        if self._store.is_new and self.in_contact:
            raise StoreLost("the connection was closed")
        return reply

    def _entry(self, key: Key, buckets: Iterable[int]) -> dict[str, Any] | None:
        counter = self.counter(key)
        own = counter.own.by_bucket
        amounts = [part for one in buckets if one in own for part in (one, own[one])]
        seconds = 2 * counter.period.seconds or self._seconds_left(counter) + KEPT_SECONDS
        return {"key": key.text, "amounts": amounts, "expires": int(seconds)} if amounts else None

    def _seconds_left(self, counter: Counter) -> float:
        span = self.calendar.span(counter.period)
        return span.end - span.start if span else 0.0

    def _look(self, key: Key) -> dict[str, Any]:
        return {"key": key.text, "cut": self.counter(key).cut}

    def _reserved(self, key: Key) -> dict[str, Any]:
        return {"key": key.text, "tokens": self.counter(key).reserved}


def _amounts(found: Any) -> dict[int, int]:
    """Return amounts by bucket; Lua writes an empty table as a list or an object."""
    return {int(bucket): int(amount) for bucket, amount in found.items()} if found else {}
