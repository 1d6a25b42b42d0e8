"""The tokens that count against one budget, by buckets of time."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Mapping

from .clock import CLOCK, Clock
from .periods import Calendar, Period

NO_CALENDAR = Calendar()


class Amounts:
    """Amounts by bucket, and their sum over the buckets that still count."""

    def __init__(self, slides: bool) -> None:
        self.by_bucket: dict[int, int] = {}
        self._slides = slides
        self._sum = 0
        self._cut = -1

    def add(self, bucket: int, amount: int) -> None:
        """Add an amount to a bucket, unless that has left the period."""
        if bucket > self._cut:
            self.by_bucket[bucket] = self.by_bucket.get(bucket, 0) + amount
            self._sum += amount

    def total(self, cut: int) -> int:
        """Return the sum of the buckets after ``cut``."""
        if not self._slides:
            return self.by_bucket.get(cut + 1, 0)
        if cut > self._cut:
            self._cut = cut
            for bucket in [one for one in self.by_bucket if one <= cut]:
                self._sum -= self.by_bucket.pop(bucket)
        return self._sum

    def replace(self, amounts: Mapping[int, int]) -> None:
        """Replace all amounts."""
        self.by_bucket = {bucket: one for bucket, one in amounts.items() if bucket > self._cut}
        self._sum = sum(self.by_bucket.values())


class Counter:
    """What counts against a budget: tokens spent, and tokens that running requests may cost.

    ``own`` are the tokens that this host has spent, ``others`` those that other hosts were known to
    have spent at the last contact, ``away`` those of ``own`` since the contact was lost.
    """

    def __init__(
        self, period: Period, calendar: Calendar = NO_CALENDAR, clock: Clock = CLOCK
    ) -> None:
        self.period = period
        self._calendar = calendar
        self._clock = clock
        self.own, self.others, self.away = (Amounts(period.slides) for _ in range(3))
        self.reserved = 0
        self.reserved_elsewhere = 0
        self.lost_hosts = 0
        self._before: dict[int, int] = {}
        self.is_adopted = False

    @property
    def cut(self) -> int:
        """The last bucket that does not count any more."""
        if self.period.slides:
            return math.floor((self._clock.now() - self.period.seconds) / self.period.bucket)
        span = self._calendar.span(self.period)
        return int(span.start) - 1 if span else sys.maxsize - 1

    def bucket(self, at: float) -> int | None:
        """Return the bucket of a time; None for one in the future or outside of the period."""
        if self.period.slides:
            late = at > self._clock.now() + self.period.bucket
            return None if late else math.floor(at / self.period.bucket)
        span = self._calendar.span(self.period)
        return int(span.start) if span and span.start <= at < span.end else None

    def add(self, amount: int, at: float | None = None) -> int | None:
        """Count an amount spent at a time, by default now; return its bucket if it counts."""
        if at is None:
            at = self._clock.now() if self.period.slides else time.time()
        bucket = self.bucket(at)
        if bucket is not None:
            self.own.add(bucket, amount)
            if self.lost_hosts:
                self.away.add(bucket, amount)
        return bucket

    def restore(self, spent: Iterable[tuple[float, int]]) -> None:
        """Count what was spent before the start, as (time, amount)."""
        for at, amount in spent:
            if (bucket := self.bucket(at)) is not None:
                self.own.add(bucket, amount)
                self._before[bucket] = self._before.get(bucket, 0) + amount

    def adopt(self, recorded: Mapping[int, int]) -> None:
        """Count what this host had recorded elsewhere before its start and does not know itself."""
        for bucket, amount in recorded.items():
            missing = amount - self._before.get(bucket, 0)
            if missing > 0:
                self.own.add(bucket, missing)
        self._before = {}
        self.is_adopted = True

    @property
    def total(self) -> int:
        """The tokens that count now.

        Without contact every lost host is taken to spend what this one spends.
        """
        cut = self.cut
        total = self.own.total(cut) + self.others.total(cut)
        return total + self.away.total(cut) * self.lost_hosts

    @property
    def all_reserved(self) -> int:
        """The tokens that running requests of all hosts may still cost."""
        if self.lost_hosts:
            return self.reserved * (1 + self.lost_hosts)
        return self.reserved + self.reserved_elsewhere

    def is_away(self, hosts: int) -> None:
        """Count on without contact to so many other hosts."""
        self.lost_hosts = hosts
        self.away.replace({})
        if hosts:
            self.reserved_elsewhere = 0

    def holds_back(self, limit: int) -> bool:
        """True if the running requests may spend what is left below ``limit``."""
        reserved = self.all_reserved
        return reserved > 0 and self.total + reserved >= limit

    def wait(self, limit: int) -> float:
        """Return the seconds until the total is below ``limit``, 0 if it is already."""
        total = self.total
        if total < limit:
            return 0.0
        if not self.period.slides:
            span = self._calendar.span(self.period)
            return max(0.0, span.end - time.time()) if span else 0.0
        weights = ((self.own, 1), (self.others, 1), (self.away, self.lost_hosts))
        parts = [
            (bucket, amount * weight)
            for amounts, weight in weights
            for bucket, amount in amounts.by_bucket.items()
        ]
        over = self._clock.now()
        for bucket, amount in sorted(parts):
            if total < limit:
                break
            total -= amount
            over = bucket * self.period.bucket + self.period.seconds
        return max(0.001, over - self._clock.now())
