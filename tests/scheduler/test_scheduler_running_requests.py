"""The records of requests under way: their states, the counters that follow, cancellation."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from jupyter_ollama.budgets.budget import Budget, Key
from jupyter_ollama.budgets.ledger import Ledger
from jupyter_ollama.budgets.request_budgets import RequestBudgets
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.scheduler.account import Account, Counts
from jupyter_ollama.scheduler.events import Events
from jupyter_ollama.scheduler.fair_queue import FairQueue
from jupyter_ollama.scheduler.request import ModelRequest, SlotClaim, State
from jupyter_ollama.scheduler.running_requests import RunningRequests


@pytest.fixture
def emitted() -> list[tuple[str, dict[str, Any]]]:
    return []


@pytest.fixture
def running(emitted: list[tuple[str, dict[str, Any]]]) -> RunningRequests:
    events = Events()
    events.listeners.append(lambda kind, data: emitted.append((kind, data)))
    return RunningRequests(events)


async def test_counters_follow_the_states_of_a_request_with_two_answers() -> None:
    queue, ann, total = FairQueue(1), Account("ann"), Counts()
    ledger, budget = Ledger(), Budget(Key("user:ann", "", "day"), 1000)
    reserved = ledger.counter(budget.key)
    budgets = RequestBudgets(ledger, "ann", (), [budget])
    request = ModelRequest(ann, expected_tokens=70, budgets=budgets)
    assert request.state is State.PREPARING
    claims = [SlotClaim(request, total=total) for _ in range(2)]
    claims[0].enter(State.LOADING)
    assert (request.state, ann.waiting, total.waiting) == (State.LOADING, 1, 1)
    first = await queue.acquire(claims[0])
    assert (request.state, ann.waiting, ann.running) == (State.RUNNING, 0, 1)
    assert reserved.reserved == 70
    waiting = asyncio.create_task(queue.acquire(claims[1]))
    await asyncio.sleep(0)
    assert (request.state, request.position, queue.claims) == (State.QUEUED, 1, 2)
    assert (total.running, total.waiting, reserved.reserved) == (1, 1, 70)
    queue.release(first)
    second = await waiting
    assert (request.state, request.position, ann.running, ann.waiting) == (
        State.RUNNING,
        None,
        1,
        0,
    )
    queue.release(second)
    assert not queue.release(second)
    assert (request.state, request.claims, queue.claims) == (State.RUNNING, [], 0)
    request.close(200)
    assert request.state is State.DONE
    for counts in (ann, total):
        assert (counts.running, counts.waiting, reserved.reserved) == (0, 0, 0)


def test_users_and_administrators_cancel_with_the_same_event(
    running: RunningRequests, emitted: list[tuple[str, dict[str, Any]]]
) -> None:
    cancelled: list[str] = []
    for user in ("ann", "bob", "ann"):
        running.track(user, "/api/web_fetch", "job", lambda user=user: cancelled.append(user))
    running.track("ann", "/api/pull")
    assert not running.cancel("other", "ann")
    assert running.cancel("job", "ann")
    assert cancelled == ["ann", "ann"]
    running.cancel("job")
    assert cancelled == ["ann", "ann", "bob"]
    data = [{"user": user, "model": ""} for user in ("ann", "ann", "bob")]
    assert emitted == [("cancel", one) for one in data]


def test_ended_requests_cannot_be_cancelled_and_stay_until_their_cost_is_known(
    running: RunningRequests,
) -> None:
    request = ModelRequest(
        Account("ann"), request_id="job", on_cancel=lambda: None, on_end=running.remove
    )
    running.add(request)
    request.begin()
    request.close(499)
    assert not running.cancel("job", "ann")
    assert (running.open, running.of_models) == ([], [request])
    request.settle(1, 0, 1, 0)
    assert running.of_models == []


async def test_the_event_loop_runs_while_the_usage_file_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_ollama.usage.store.READ_SECONDS", 60.0)
    monkeypatch.setattr("jupyter_ollama.usage.store.LOCKED_SECONDS", 60.0)
    traits = {"record_usage": True, "usage_file": str(tmp_path / "usage.sqlite")}
    before = OllamaServer(**traits)
    request = ModelRequest(Account("ann"), model="tiny")
    request.settle(5, 0, 2, 0)
    request.close(200)
    assert before.admission.store
    before.admission.store.add(request)
    before.admission.block("eve", True)
    await before.stop()
    with sqlite3.connect(traits["usage_file"], isolation_level=None) as lock:
        lock.execute("PRAGMA locking_mode=EXCLUSIVE")
        lock.execute("BEGIN EXCLUSIVE")
        after = OllamaServer(**traits)
        waiting = [asyncio.create_task(after.admission.restored()) for _ in range(40)]
        await asyncio.wait(waiting, timeout=0.2)
        assert not any(task.done() for task in waiting)
        assert (after.admission.spent("ann", "day"), after.admission.blocked) == (0, set())
        lock.rollback()
    lock.close()
    await asyncio.gather(*waiting)
    assert (after.admission.spent("ann", "day"), after.admission.blocked) == (7, {"eve"})
    await after.stop()
