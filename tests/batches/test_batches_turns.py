"""Which row is sent next: slots of users, and the pace of a batch that is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from jupyter_ollama.batches.pace import ONE_MORE_AFTER, Pace
from jupyter_ollama.batches.row_slots import RowSlots
from jupyter_ollama.scheduler.limits import LimitReached


class Crowd:
    """Users who hold slots until a test has them release some."""

    def __init__(self, total: int) -> None:
        self.slots = RowSlots(total)
        self.held: Counter[str] = Counter()
        self._releases: dict[str, list[asyncio.Event]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, user: str, count: int, most: int = 99) -> None:
        """Have a user ask for slots."""
        for _ in range(count):
            self.tasks.append(asyncio.create_task(self._row(user, most)))
        await self._settled()

    async def release(self, user: str) -> None:
        """Have a user release one slot."""
        self._releases[user].pop().set()
        await self._settled()

    async def _row(self, user: str, most: int) -> None:
        async with self.slots.hold(user, lambda: most):
            self.held[user] += 1
            release = asyncio.Event()
            self._releases.setdefault(user, []).append(release)
            await release.wait()
            self.held[user] -= 1

    async def _settled(self) -> None:
        for _ in range(20):  # turns of the event loop, more than a grant takes
            await asyncio.sleep(0)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_a_free_slot_goes_to_the_user_with_the_fewest() -> None:
    crowd = Crowd(4)
    await crowd.come("ann", 10)
    assert crowd.held == {"ann": 4}
    await crowd.come("bob", 10)
    await crowd.come("eve", 1)
    for _ in range(3):
        await crowd.release("ann")
    assert crowd.held == {"ann": 2, "bob": 1, "eve": 1}
    await crowd.end()


async def test_a_user_has_no_more_than_the_limits_allow() -> None:
    crowd = Crowd(4)
    await crowd.come("ann", 3, most=0)
    assert crowd.held == {"ann": 1}  # one row always
    await crowd.come("bob", 9, most=2)
    assert crowd.held == {"ann": 1, "bob": 2}
    await crowd.end()


async def test_cancelled_rows_leave_no_slot_taken() -> None:
    crowd = Crowd(2)
    await crowd.come("ann", 6)
    await crowd.release("ann")
    await crowd.end()  # those that hold a slot, wait for one, and have just been granted one
    async with AsyncExitStack() as stack:
        for _ in range(2):
            hold = crowd.slots.hold("bob", lambda: 2)
            await asyncio.wait_for(stack.enter_async_context(hold), 5)


async def test_a_refused_batch_pauses_and_sends_fewer_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jupyter_ollama.batches.pace.LONGEST_PAUSE", 0.05)
    pace = Pace()
    pace.in_flight = 8
    assert pace.most(20) == 20
    pace.refused(LimitReached("your queue is full", 3600))
    assert pace.most(20) == 7
    pace.answered()  # a row that was sent before the refusal
    assert pace.reason == "your queue is full"
    began = asyncio.get_running_loop().time()
    await pace.ready(lambda: False)
    assert 0.05 <= asyncio.get_running_loop().time() - began < 5
    for _ in range(ONE_MORE_AFTER - 1):
        pace.answered()
    assert (pace.most(20), pace.reason) == (8, "")
