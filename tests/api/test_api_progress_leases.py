"""A lease is released exactly once, at any time of cancellation."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest

from jupyter_ollama.api.progress import acquiring


class Lease:
    """Counts how often it was released."""

    def __init__(self) -> None:
        self.releases = 0

    def release(self) -> None:
        self.releases += 1


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("cancels", [(), *itertools.product(range(9), range(1, 4))])
@pytest.mark.parametrize("queued", [0, 2])
@pytest.mark.parametrize("slow_to_cancel", [False, True])
async def test_every_interleaving(
    cancels: tuple[int, ...], queued: int, slow_to_cancel: bool
) -> None:
    """A request waits, acquires its lease and writes; it is cancelled at each moment or twice."""
    made: list[Lease] = []

    async def acquire(on_position: Callable[[int], None]) -> Any:
        try:
            for position in range(queued, 0, -1):
                on_position(position)
                await asyncio.sleep(0)
            await turns(2)
        except asyncio.CancelledError:
            if not slow_to_cancel:
                raise
            await turns(2)  # a lease acquired too late
        made.append(Lease())
        return made[-1]

    async def request() -> None:
        async with aclosing(acquiring(acquire)) as steps:
            async for step in steps:
                await turns(1)
                if isinstance(step, Lease):
                    await turns(1)
                    raise ConnectionError("the client has hung up")

    task = asyncio.ensure_future(request())
    for pause in cancels:
        await turns(pause)
        task.cancel()
    with suppress(asyncio.CancelledError, ConnectionError):
        await task
    await turns(10)
    assert [lease.releases for lease in made] == [1] * len(made)
    assert made or cancels
