"""Return of freed memory to the system, some time after requests."""

from __future__ import annotations

import asyncio

from ..heap import can_return_memory, map_large_blocks, return_memory, share_one_heap

PAUSE = 20.0
"""Seconds between a request and the return of memory, which takes milliseconds."""


def bound_heaps() -> None:
    """Let this process have one heap, which returns large blocks at once.

    A server calls this before it starts threads.
    """
    share_one_heap()
    map_large_blocks()


class FreeMemory:
    """Returns the memory that requests have used and freed.

    glibc keeps freed blocks below a block in use: after bodies of megabytes and many connections,
    a server would hold three times the memory that it needs. An idle server does nothing.
    """

    def __init__(self, pause: float = PAUSE) -> None:
        bound_heaps()
        self._pause = pause
        self._timer: asyncio.TimerHandle | None = None

    def return_later(self) -> None:
        """Return freed memory after the pause, once for all requests that arrive in it."""
        if self._timer is None and can_return_memory():
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._pause, self._start, loop)

    def close(self) -> None:
        """Cancel the pending return."""
        if self._timer is not None:
            self._timer.cancel()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        loop.run_in_executor(None, return_memory)
