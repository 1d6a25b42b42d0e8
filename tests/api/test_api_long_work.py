"""Long bodies are decoded aside, in turn for their users, and one at a time."""

from __future__ import annotations

import asyncio
import sys
import threading

from jupyter_ollama.flow_control.long_work import LongWork


async def test_users_take_turns() -> None:
    work = LongWork()
    order: list[str] = []
    gate = threading.Event()
    first = asyncio.create_task(work.do("eve", gate.wait))
    rest = [asyncio.create_task(work.do("eve", lambda n=n: order.append(f"eve{n}"))) for n in "123"]
    await asyncio.sleep(0)
    other = asyncio.create_task(work.do("ann", lambda: order.append("ann")))
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *rest, other)
    assert order == ["ann", "eve1", "eve2", "eve3"]
    work.close()


async def test_work_of_a_cancelled_request_is_not_started() -> None:
    work = LongWork()
    gate, done = threading.Event(), []
    usual = sys.getswitchinterval()
    under_way = asyncio.create_task(work.do("eve", gate.wait))
    waiting = asyncio.create_task(work.do("eve", lambda: done.append(1)))
    await asyncio.sleep(0.01)
    under_way.cancel()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not under_way.done()  # its thread cannot be interrupted
    gate.set()
    await asyncio.wait([under_way])
    assert under_way.cancelled()
    assert await work.do("ann", lambda: 7) == 7
    assert not done
    assert sys.getswitchinterval() == usual
    work.close()
