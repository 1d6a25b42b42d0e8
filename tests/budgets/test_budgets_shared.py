"""Budgets that several hosts share by a real Redis: starts, losses and returns of both."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis_servers import RedisServer, redis_server

from jupyter_ollama.budgets.budget import Budget, Key
from jupyter_ollama.budgets.periods import Calendar
from jupyter_ollama.budgets.redis_store import RedisStore, StoreLost
from jupyter_ollama.budgets.request_budgets import RequestBudgets
from jupyter_ollama.budgets.shared_ledger import SharedLedger

DAY = Key("user:ann", "", "day")
MONTH = Key("user:ann", "", "month")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis", "open sesame") as server:
        yield server


@asynccontextmanager
async def hosts(
    redis: RedisServer, *names: str, timeout: float = 2.0
) -> AsyncIterator[list[SharedLedger]]:
    """Run ledgers that have made contact."""
    ledgers = [
        SharedLedger(RedisStore(redis.url, timeout), name, 1, Calendar("Europe/Berlin"))
        for name in names
    ]
    try:
        for one in ledgers:
            await one.look([])
        yield ledgers
    finally:
        for one in ledgers:
            await one.close()


async def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def spend(ledger: SharedLedger, tokens: int) -> None:
    ledger.add([DAY, MONTH], tokens, ledger.clock.now())


async def totals(ledger: SharedLedger) -> list[int]:
    await ledger.look([DAY, MONTH])
    return [ledger.counter(DAY).total, ledger.counter(MONTH).total]


async def test_all_hosts_see_what_each_has_spent(redis: RedisServer) -> None:
    async with hosts(redis, "one", "two", "three") as ledgers:
        for number, ledger in enumerate(ledgers):
            spend(ledger, 10**number)
            await ledger.flushed()
        assert [await totals(one) for one in ledgers] == [[111, 111]] * 3
        # The host that came first learns of the others by its next call.
        assert {one.state["hosts"] for one in ledgers if one.state} == {3}


async def start(ledger: SharedLedger, limit: int, tokens: int) -> bool:
    budget = Budget(DAY, limit)
    ledger.reserve([budget], tokens)
    started = await ledger.confirm((budget,), tokens)
    if not started:
        ledger.reserve([budget], -tokens)
    return started


async def test_running_requests_of_all_hosts_reserve(redis: RedisServer) -> None:
    async with hosts(redis, "one", "two") as (one, two):
        spend(one, 50)
        assert await start(one, 100, 50)
        assert not await start(two, 100, 30)  # the first may spend what is left
        assert two.counter(DAY).holds_back(100)
        assert not two.counter(DAY).wait(100)
        spend(one, 10)
        one.reserve([Budget(DAY, 100)], -50)
        await one.flushed()
        assert await start(two, 100, 30)
        spend(two, 40)
        two.reserve([Budget(DAY, 100)], -30)
        await two.flushed()
        assert not await start(one, 100, 1)
        assert one.counter(DAY).wait(100) > 86000


async def test_a_budget_is_exceeded_by_one_request_at_most(redis: RedisServer) -> None:
    """Three hosts and sixty requests at once, each of which costs up to what it has reserved."""
    chance = random.Random(5)
    limit, spent, refused = 2000, [0], [0]

    async def ask(ledger: SharedLedger) -> None:
        budget = Budget(DAY, limit)
        while True:
            budgets = RequestBudgets(ledger, "ann", (), [budget])
            if budgets.refusal():
                refused[0] += 1
                return
            # In the scheduler the queue holds such a request back.
            if not ledger.counter(DAY).holds_back(limit):
                reservation = budgets.reserve(100)
                if await budgets.confirm(100):
                    break
                reservation.release()
            await ledger.look([DAY])
            await asyncio.sleep(0.002)
        await asyncio.sleep(chance.random() * 0.01)
        cost = chance.randrange(1, 101)
        budgets.spend(cost)
        spent[0] += cost
        await ledger.flushed()
        reservation.release()

    async with hosts(redis, "one", "two", "three") as ledgers:
        await asyncio.gather(*(ask(chance.choice(ledgers)) for _ in range(60)))
        assert refused[0] > 0
        assert limit <= spent[0] < limit + 100
        for one in ledgers:
            assert (await totals(one))[0] == spent[0]
            assert one.counter(DAY).reserved == 0


async def test_a_killed_host_keeps_its_counts_and_loses_its_reservations(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_ollama.budgets.membership.ALIVE_SECONDS", 0.5)
    monkeypatch.setattr("jupyter_ollama.budgets.shared_ledger.HEARTBEAT_SECONDS", 0.1)
    async with hosts(redis, "one", "two") as (one, two):
        spend(one, 30)
        await one.flushed()
        assert await start(one, 100, 70)
        assert not await start(two, 100, 20)
        assert one._contact
        one._contact.cancel()  # no heartbeat any more
        while not await start(two, 100, 20):
            await two.look([DAY])
        assert (await totals(two))[0] == 30
        one._contact = asyncio.ensure_future(asyncio.sleep(0))


async def test_a_host_that_starts_again_has_what_it_had_spent(redis: RedisServer) -> None:
    async with hosts(redis, "one", "two") as (one, two):
        spend(one, 30)
        await one.flushed()
        spend(two, 5)
        await two.flushed()
    async with hosts(redis, "one") as (one,):
        spend(one, 1)  # before it has looked
        await one.flushed()
        assert await totals(one) == [36, 36]
        assert one.counter(DAY).own.total(0) == 31


async def test_a_name_belongs_to_one_server(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_ollama.budgets.membership.is_gone", lambda member: False)
    async with hosts(redis, "one", "one") as (first, second):
        assert (first.in_contact, second.in_contact) == (True, False)
        assert "another server has the name one: set budget_host" in caplog.text


@pytest.mark.parametrize("keeps", [True, False])
async def test_the_store_is_killed_and_comes_back(
    redis: RedisServer, keeps: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with hosts(redis, "one", "two", timeout=0.5) as (one, two):
        for ledger in (one, two):
            spend(ledger, 20)
            await ledger.flushed()
        await totals(one), await totals(two)
        redis.kill()
        begun = time.monotonic()
        assert await start(one, 100, 10)
        assert time.monotonic() - begun < 1
        spend(one, 25)
        # 40 were spent; of the 60 left, each of the two may spend half.
        assert one.counter(DAY).total == 90
        assert one.state == {
            "store": f"redis://127.0.0.1:{redis.port}/0",
            "state": "alone",
            "hosts": 2,
        }
        spend(one, 5)
        assert not one.counter(DAY).wait(101)
        assert one.counter(DAY).wait(100) > 86000
        await until(lambda: "counted on this host alone, as one of 2" in caplog.text)
        if not keeps:
            for file in redis.folder.glob("appendonlydir/*"):
                file.unlink()
        redis.start()
        await until(lambda: one.in_contact)
        for ledger in (one, two):  # the second may notice the loss by its next call only
            while await totals(ledger) != [70, 70]:
                await until(lambda ledger=ledger: ledger.in_contact)
        assert [await totals(one), await totals(two)] == [[70, 70]] * 2
        assert "Budgets are shared again" in caplog.text
        assert "sesame" not in caplog.text


async def test_a_store_that_hangs_delays_no_request_for_long(redis: RedisServer) -> None:
    async with hosts(redis, "one", timeout=0.2) as (one,):
        assert redis.process
        os.kill(redis.process.pid, signal.SIGSTOP)
        begun = time.monotonic()
        await asyncio.gather(*(start(one, 10**6, 5) for _ in range(50)))
        assert time.monotonic() - begun < 0.6
        assert not one.in_contact
        begun = time.monotonic()
        assert await start(one, 10**6, 5)
        assert time.monotonic() - begun < 0.05
        os.kill(redis.process.pid, signal.SIGCONT)
        await until(lambda: one.in_contact)


async def test_a_server_starts_without_its_store(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.kill()
    store = RedisStore(redis.url, 0.5)
    ledger = SharedLedger(store, "one", 4, Calendar())
    assert await start(ledger, 100, 10)
    spend(ledger, 25)
    assert ledger.counter(DAY).wait(100)  # its quarter is spent
    with pytest.raises(StoreLost):
        await ledger.set_override("limits user:ann", "{}")
    redis.start()
    await until(lambda: ledger.in_contact)
    assert await totals(ledger) == [25, 25]
    assert "sesame" not in caplog.text
    await ledger.close()


async def test_limits_until_a_date_reach_all_hosts(redis: RedisServer) -> None:
    async with hosts(redis, "one", "two") as (one, two):
        seen: list[dict[str, str]] = []
        two.on_overrides(seen.append)
        await one.set_override("limits user:ann", "value")
        await two.look([DAY])
        assert seen == [{"limits user:ann": "value"}]
        await one.set_override("limits user:ann", "")
        await two.look([DAY])
        assert seen[-1] == {}


async def test_a_wrong_password_is_not_logged(
    redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = redis.url.replace("sesame", "barley")
    ledger = SharedLedger(RedisStore(url, 1), "one", 1, Calendar())
    await ledger.look([DAY])
    assert "WRONGPASS" in caplog.text or "invalid" in caplog.text
    assert "barley" not in caplog.text
    await ledger.close()
