"""Progress of a request before its first text, for clients that ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ..engine.events import Progress

if TYPE_CHECKING:
    from ..scheduler.lease import Lease
    from ..scheduler.request import OnPosition

Status = dict[str, Any]
"""The fields of a progress line, except the model and the time."""


async def acquiring(
    acquire: Callable[[OnPosition], Coroutine[Any, Any, Lease]],
) -> AsyncGenerator[Status | Lease, None]:
    """Yield the states of a waiting request, then its lease, which is released by `aclose`."""
    positions: asyncio.Queue[int | None] = asyncio.Queue()
    task = asyncio.ensure_future(acquire(positions.put_nowait))
    task.add_done_callback(lambda _: positions.put_nowait(None))
    try:
        while (position := await positions.get()) is not None:
            yield {"status": "queued", "position": position} if position else {"status": "loading"}
        yield await task
    finally:
        # Do not await here: a second cancellation would interrupt it and lose the lease.
        if task.done():
            _release(task)
        else:
            task.add_done_callback(_release)
            task.cancel()


def _release(task: asyncio.Task[Lease]) -> None:
    """Release the lease that a task has acquired, if any."""
    if not task.cancelled() and not task.exception():
        task.result().release()


def prompt_status(event: Progress) -> Status:
    """Return the number of tokens of the prompt that are computed, and their total."""
    return {"status": "prompt", "completed": event.completed, "total": event.total}
