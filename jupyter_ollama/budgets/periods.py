"""The periods of budgets: the last minute, day and week, the calendar month, the term."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Period:
    """A period of a budget.

    ``phrase`` follows a limit in messages. A sliding period covers the last ``seconds`` and forgets
    amounts by buckets of ``bucket`` seconds; the others, with 0 seconds, begin at a date.
    """

    name: str
    phrase: str
    seconds: float = 0.0
    bucket: float = 1.0

    @property
    def slides(self) -> bool:
        """True if the period always ends now."""
        return self.seconds > 0


MINUTE = Period("minute", "a minute", 60.0, 0.5)
DAY = Period("day", "a day", 86400.0, 300.0)
WEEK = Period("week", "a week", 7 * 86400.0, 1800.0)
MONTH = Period("month", "a month")
TERM = Period("term", "a term")
PERIODS = {one.name: one for one in (MINUTE, DAY, WEEK, MONTH, TERM)}


class Span(NamedTuple):
    """The current month or term, in seconds of time.time(); ``end`` is its first second after."""

    start: float
    end: float


class Term(NamedTuple):
    """A term: its first and its last day."""

    first: date
    last: date


class Calendar:
    """The months of a time zone, and the terms that an administrator has set."""

    def __init__(self, zone: str = "", terms: Sequence[Term] = ()) -> None:
        """``zone`` is a name such as "Europe/Berlin", "" for the zone of this host."""
        self.zone: tzinfo | None = ZoneInfo(zone) if zone else None
        self.terms = sorted(terms)
        self._spans: dict[str, Span] = {}

    def span(self, period: Period, now: float | None = None) -> Span | None:
        """Return the month or term at a time, by default now; None between two terms."""
        now = time.time() if now is None else now
        known = self._spans.get(period.name)
        if known and known.start <= now < known.end:
            return known
        today = datetime.fromtimestamp(now, self.zone).date()
        found = self._month(today) if period is MONTH else self._term(today)
        if found:
            self._spans[period.name] = found
        return found

    def _month(self, day: date) -> Span:
        first = day.replace(day=1)
        following = (first + timedelta(days=32)).replace(day=1)
        return Span(self._midnight(first), self._midnight(following))

    def _term(self, day: date) -> Span | None:
        for term in self.terms:
            if term.first <= day <= term.last:
                after = term.last + timedelta(days=1)
                return Span(self._midnight(term.first), self._midnight(after))
        return None

    def _midnight(self, day: date) -> float:
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp()

    def moment(self, seconds: float) -> str:
        """Return a time to the minute, with its zone, for a message."""
        at = datetime.fromtimestamp(math.ceil(seconds), self.zone)
        at = at if self.zone else at.astimezone()
        return f"{at:%Y-%m-%d %H:%M} {at.tzname() or ''}".strip()


def read_terms(given: Sequence[Sequence[str]]) -> list[Term]:
    """Return the terms of a setting, pairs of ISO dates. Raises ValueError that names the fault."""
    terms = []
    for pair in given:
        if isinstance(pair, str) or len(pair) != 2:
            raise ValueError(f"{pair!r} is no pair of a first and a last day")
        term = Term(*(date.fromisoformat(text) for text in pair))
        if term.last < term.first:
            raise ValueError(f"the term from {term.first} ends before it begins, on {term.last}")
        terms.append(term)
    terms.sort()
    for before, after in pairwise(terms):
        if after.first <= before.last:
            raise ValueError(f"the terms from {before.first} and from {after.first} overlap")
    return terms
