"""What happens to a request before its first text, for clients that ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ..engine.protocol import Progress

if TYPE_CHECKING:
    from ..scheduler.queue import Tell
    from ..scheduler.scheduler import Lease

Status = dict[str, Any]
"""The fields of a line that tell of it, those besides the model and the time."""


async def acquiring(
    acquire: Callable[[Tell], Coroutine[Any, Any, Lease]],
) -> AsyncGenerator[Status | Lease, None]:
    """Yield what a request waits for, then its lease, which ends when this is closed."""
    places: asyncio.Queue[int | None] = asyncio.Queue()
    task = asyncio.ensure_future(acquire(places.put_nowait))
    task.add_done_callback(lambda _: places.put_nowait(None))
    try:
        while (place := await places.get()) is not None:
            yield {"status": "queued", "position": place} if place else {"status": "loading"}
        yield await task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and not task.exception():
            async with task.result():
                pass


def prompt_status(event: Progress) -> Status:
    """Return what tells how much of a prompt is read, in tokens."""
    return {"status": "prompt", "completed": event.completed, "total": event.total}
