"""The order in which users get the slots of a model: by the tokens that they have spent."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jupyter_ollama.scheduler.account import Account
from jupyter_ollama.scheduler.fair_queue import FairQueue
from jupyter_ollama.scheduler.limits import Limits
from jupyter_ollama.scheduler.loaded_base import RunnerGone
from jupyter_ollama.scheduler.request import ModelRequest, SlotClaim
from jupyter_ollama.scheduler.share import Grant


class Users:
    """Users of one queue, whose requests have the cost that a test sets."""

    def __init__(self, slots: int, names: Iterable[str] = "ab") -> None:
        self.queue = FairQueue(slots)
        self.accounts = {name: Account(name) for name in names}
        self.order: list[str] = []
        self.running: list[tuple[Grant, str]] = []
        self.spent: Counter[str] = Counter()

    def ask(
        self, name: str, *, bulk: bool = False, label: str = "", limits: Limits | None = None
    ) -> asyncio.Task[None]:
        """Request a slot; the request is in ``order`` and ``running`` once it has one."""
        request = ModelRequest(self.accounts[name], limits or Limits(), bulk=bulk)

        async def wait() -> None:
            grant = await self.queue.acquire(SlotClaim(request))
            self.order.append(label or name)
            self.running.append((grant, name))

        return asyncio.create_task(wait())

    def end(self, cost: int, index: int = 0) -> str:
        """End a running request with its cost."""
        grant, name = self.running.pop(index)
        grant.request.begin()
        grant.request.settle(cost // 2, 0, cost - cost // 2, 0)
        self.spent[name] += cost
        self.queue.release(grant)
        return name


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_user_is_served_in_order() -> None:
    users = Users(2)
    for number in range(6):
        users.ask("a", label=str(number))
    await turn()
    for cost in (500, 1, 90, 3, 7, 20):
        users.end(cost)
        await turn()
    assert users.order == [*"012345"]


async def test_interactive_requests_of_a_user_go_before_bulk_ones() -> None:
    users = Users(1)
    users.ask("a", label="first")
    await turn()
    for label, bulk in (("row 1", True), ("row 2", True), ("chat 1", False), ("chat 2", False)):
        users.ask("a", bulk=bulk, label=label)
    await turn()
    while users.running:
        users.end(10)
        await turn()
    assert users.order == ["first", "chat 1", "chat 2", "row 1", "row 2"]


async def test_users_take_turns_by_tokens_not_by_requests() -> None:
    users = Users(4)
    costs = {"a": 10, "b": 90}
    tasks = [users.ask(name) for _ in range(400) for name in "ab"]
    await turn()
    for _ in range(300):
        users.end(costs[users.running[0][1]])
        await turn()
    assert 0.9 < users.spent["a"] / users.spent["b"] < 1.1
    for task in tasks:
        task.cancel()


@pytest.mark.parametrize("was_there", [False, True])
async def test_a_new_or_returning_user_has_no_credit(
    was_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = Users(1)
    if was_there:
        users.ask("b")
        await turn()
        users.end(100)
        users.order.clear()
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 10)
    tasks = [users.ask("a") for _ in range(60)]
    await turn()
    for _ in range(20):
        users.end(100)
        await turn()
    begun = len(users.order)
    tasks += [users.ask("b") for _ in range(40)]
    await turn()
    for _ in range(20):
        users.end(100)
        await turn()
    shares = Counter(users.order[begun:])
    assert users.order[begun] == "b"
    assert abs(shares["a"] - shares["b"]) <= 2
    for task in tasks:
        task.cancel()


async def test_a_user_who_pauses_briefly_keeps_the_balance() -> None:
    """Tokens that the others spent in the pause count as spent before."""
    users = Users(1)
    users.ask("b")
    await turn()
    users.end(100)
    tasks = [users.ask("a") for _ in range(30)]
    await turn()
    for _ in range(10):
        users.end(100)
        await turn()
    tasks += [users.ask("b") for _ in range(10)]
    await turn()
    for _ in range(10):
        users.end(100)
        await turn()
    assert Counter(users.order[-9:])["b"] >= 8
    for task in tasks:
        task.cancel()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9))
@example(465)
@example(2061)
def test_shares_of_busy_users_are_equal(seed: int) -> None:
    """For any costs and any order of ends, while all users want more than they get."""

    async def course() -> None:
        chance = random.Random(seed)
        names = "abcdefghij"[: chance.randrange(2, 11)]
        slots = chance.randrange(1, 17)
        users = Users(slots, names + "yz")
        means = {name: chance.choice([5, 40, 150]) for name in names}
        # All slots are taken before the others arrive, as a single user may take all of them.
        tasks = [users.ask("yz"[number % 2]) for number in range(slots)]
        await turn()

        pending: Counter[str] = Counter()

        def keep_asking() -> None:
            for name in names:
                while pending[name] < 20:
                    pending[name] += 1
                    tasks.append(users.ask(name, bulk=chance.random() < 0.5))

        for _ in range(1000):
            keep_asking()
            await turn()
            index = chance.randrange(len(users.running))
            _, name = users.running[index]
            pending[name] -= 1
            mean = means.get(name, 1)
            users.end(1 + int(chance.expovariate(1 / mean)), index)
        served = [users.spent[name] for name in names]
        jain = sum(served) ** 2 / (len(served) * sum(one * one for one in served))
        assert jain > 0.95, (served, means)
        for task in tasks:
            task.cancel()

    asyncio.run(course())


async def test_slots_are_reserved_for_users_who_may_return_soon() -> None:
    users = Users(16, "abcd")
    for name in ("b", "c", "d"):
        users.ask(name)
        await turn()
        users.end(10)
    tasks = [users.ask("a") for _ in range(40)]
    await turn()
    assert len(users.running) == 14
    for name in ("b", "c"):
        tasks.append(users.ask(name, label=f"{name} at once"))
        await turn()
        assert users.order[-1] == f"{name} at once"
    # These two have returned: one more is expected.
    users.end(10)
    users.end(10)
    await turn()
    assert len(users.running) == 15
    for task in tasks:
        task.cancel()


async def test_a_single_user_gets_all_slots() -> None:
    users = Users(16)
    for _ in range(20):
        users.ask("a", bulk=True)
    await turn()
    assert len(users.running) == 16


async def test_the_limit_of_a_user_counts_over_all_models() -> None:
    limits = Limits(concurrent=1)
    users = Users(4)
    other = Users(4)
    other.accounts = users.accounts
    users.ask("a", limits=limits)
    await turn()
    waiting = other.ask("a", limits=limits)
    other.ask("b")
    await turn()
    assert other.order == ["b"]
    assert not waiting.done()
    users.end(10)
    await turn()
    assert other.order == ["b", "a"]
    assert users.accounts["a"].queues == set()


async def test_positions_in_the_queue() -> None:
    users = Users(1)
    reported: dict[str, list[int]] = {"a1": [], "a2": [], "b1": []}
    users.ask("a")
    await turn()

    def wait(label: str) -> asyncio.Task[Grant]:
        request = ModelRequest(users.accounts[label[0]], bulk=False, request_id=label)
        requests[label] = request
        claim = SlotClaim(request, reported[label].append)
        return asyncio.create_task(users.queue.acquire(claim))

    requests: dict[str, ModelRequest] = {}
    tasks = []
    for label in reported:
        tasks.append(wait(label))
        await turn()
    # The other user has spent less.
    assert reported == {"a1": [1, 2], "a2": [2, 3], "b1": [1]}
    assert requests["a2"].position == 3
    users.end(10)
    await turn()
    assert reported == {"a1": [1, 2, 1], "a2": [2, 3, 2], "b1": [1]}
    assert requests["b1"].position is None
    for task in tasks:
        task.cancel()


async def test_a_request_cancelled_as_it_starts_passes_its_slot_on() -> None:
    users = Users(1)
    users.ask("a")
    await turn()
    leaving = users.ask("b")
    staying = users.ask("a", label="next")
    await turn()
    users.end(10)
    leaving.cancel()
    await asyncio.wait([staying], timeout=5)
    assert users.order == ["a", "next"]
    assert users.accounts["b"].running == 0


async def test_a_request_that_was_just_cancelled_is_skipped() -> None:
    """Its task has not run since, so it is still in the queue."""
    users = Users(1)
    users.ask("a")
    await turn()
    leaving = users.ask("b")
    users.ask("a", label="next")
    await turn()
    leaving.cancel()
    users.end(10)
    await turn()
    assert users.order == ["a", "next"]


async def test_all_waiting_requests_fail_when_the_runner_ends() -> None:
    users = Users(1)
    users.ask("a")
    await turn()
    tasks = [users.ask(name) for name in "abab"]
    await turn()
    users.queue.fail(RunnerGone())
    for task in tasks:
        with pytest.raises(RunnerGone):
            await task
    assert users.accounts["a"].queues == set()


async def test_cancelled_requests_cost_their_computed_tokens() -> None:
    """Their cost is known only after their slot was granted to another request."""
    users = Users(1)
    users.ask("a")
    await turn()
    tasks = [users.ask(name) for name in "ab" for _ in range(3)]
    grant, _ = users.running.pop()
    grant.request.begin()
    users.queue.release(grant)
    await turn()
    grant.request.settle(500, 0, 500, 0)
    for _ in range(4):
        users.end(100)
        await turn()
    assert Counter(users.order[1:5]) == {"b": 3, "a": 1}
    for task in tasks:
        task.cancel()
