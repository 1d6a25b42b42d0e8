"""Counters of budgets: what leaves a period, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from traitlets import TraitError

from jupyter_ollama.budgets.counter import Counter
from jupyter_ollama.budgets.periods import DAY, MINUTE, MONTH, TERM, WEEK, Calendar, read_terms
from jupyter_ollama.config import OllamaServer

BERLIN = ZoneInfo("Europe/Berlin")


def test_amounts_leave_a_window() -> None:
    window = Counter(MINUTE)
    now = time.time()
    for ago, tokens in ((100, 7), (50, 10), (20, 30), (0, 5)):
        window.add(tokens, now - ago)
    assert window.total == 45
    assert window.wait(46) == 0
    assert window.wait(45) == pytest.approx(10, abs=1)
    assert window.wait(35) == pytest.approx(40, abs=1)
    assert window.wait(1) == pytest.approx(60, abs=1)


@pytest.mark.parametrize("jump", [-3 * 86400, 3 * 86400])
def test_a_clock_that_jumps_locks_no_user_out(monkeypatch: pytest.MonkeyPatch, jump: int) -> None:
    window = Counter(MINUTE)
    window.add(10)
    before, wall, steady = window.wait(5), time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: wall() + jump)
    assert window.total == 10
    assert window.wait(5) == pytest.approx(before, abs=5)
    window.add(10)
    monkeypatch.setattr(time, "time", wall)
    assert window.wait(5) == pytest.approx(60, abs=5)
    monkeypatch.setattr(time, "monotonic", lambda: steady() + 61)
    assert window.total == window.wait(5) == 0


def test_records_of_the_future_are_dropped() -> None:
    window = Counter(MINUTE)
    window.add(7, time.time() + 3 * 86400)
    assert window.total == 0
    window.add(7, time.time() - 30)
    assert window.wait(5) == pytest.approx(30, abs=5)


def test_a_window_is_bounded() -> None:
    window = Counter(DAY)
    start = time.time() - 86000
    for number in range(20000):
        window.add(1, start + number * 4)
    assert len(window.own.by_bucket) < 300
    assert window.total == 20000


def test_a_week_is_the_last_seven_days() -> None:
    window, now = Counter(WEEK), time.time()
    for days, amount in ((7.1, 1000), (6.9, 30), (3, 200), (0, 4)):
        window.add(amount, now - days * 86400)
    assert window.total == 234
    # The oldest part leaves within a bucket of half an hour.
    assert window.wait(234) == pytest.approx(0.1 * 86400, abs=1800)
    assert len(window.own.by_bucket) <= 7 * 48


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], float]:
    """Set the time, in Berlin, that calendars read."""

    def set_time(text: str) -> float:
        seconds = datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()
        monkeypatch.setattr(time, "time", lambda: seconds)
        return seconds

    return set_time


def test_a_month_begins_at_midnight_of_its_zone(at: Callable[[str], float]) -> None:
    counter = Counter(MONTH, Calendar("Europe/Berlin"))
    at("2026-03-31T23:59:59")
    counter.add(10)
    assert counter.total == 10
    assert counter.wait(10) == 1
    at("2026-04-01T00:00:00")
    assert (counter.total, counter.wait(10)) == (0, 0)
    counter.add(3)
    assert counter.total == 3
    # Summer time begins in the month: it is an hour shorter.
    at("2026-03-01T00:00:00")
    counter.add(5)
    assert counter.wait(1) == 31 * 86400 - 3600


def test_a_term_counts_between_its_days(at: Callable[[str], float]) -> None:
    terms = read_terms([("2027-04-01", "2027-09-30"), ("2026-10-01", "2027-02-28")])
    counter = Counter(TERM, Calendar("Europe/Berlin", terms))
    at("2026-09-30T23:59:59")
    counter.add(7)
    assert (counter.total, counter.wait(1)) == (0, 0)
    at("2026-10-01T00:00:00")
    counter.add(8)
    at("2027-02-28T23:00:00")
    counter.add(1)
    assert (counter.total, counter.wait(9), counter.wait(10)) == (9, 3600, 0)
    at("2027-03-01T00:00:00")
    assert counter.total == 0
    at("2027-04-01T00:00:00")
    counter.add(2)
    assert counter.total == 2


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([("2026-10-01", "2026-09-01")], "the term from 2026-10-01 ends before it begins"),
        ([("2026-01-01", "2026-06-01"), ("2026-06-01", "2026-09-01")], "overlap"),
        ([("2026-10-01",)], "no pair of a first and a last day"),
        (["2026-10-01"], "no pair of a first and a last day"),
        ([("2026-10-01", "tomorrow")], "Invalid isoformat string"),
    ],
)
def test_terms_that_make_no_sense(terms: list[Any], message: str) -> None:
    with pytest.raises(TraitError, match=message):
        OllamaServer(terms=terms)


def test_what_was_spent_before_the_start_counts(at: Callable[[str], float]) -> None:
    now = at("2026-05-10T12:00:00")
    counter = Counter(MONTH, Calendar("Europe/Berlin"))
    counter.restore([(now - 86400, 5), (now - 20 * 86400, 100)])
    assert counter.total == 5


def test_without_contact_a_host_spends_its_part_of_what_was_left() -> None:
    counter = Counter(DAY)
    counter.add(100)
    counter.others.replace({next(iter(counter.own.by_bucket)): 200})
    counter.is_away(2)
    assert counter.total == 300
    counter.add(50)  # each of the two others may spend as much, unseen
    assert counter.total == 450
    counter.reserved = 10
    assert counter.all_reserved == 30
    counter.is_away(0)
    assert counter.total == 350


def test_what_a_store_has_of_an_earlier_process_counts_once() -> None:
    bucket = Counter(DAY).bucket(time.time())
    assert bucket
    for before, recorded, expected in ((50, 50, 50), (50, 80, 80), (80, 50, 80), (0, 70, 70)):
        counter = Counter(DAY)
        counter.restore([(time.time(), before)] if before else [])
        counter.add(7)
        counter.adopt({bucket: recorded})
        assert counter.total == expected + 7
