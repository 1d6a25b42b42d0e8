"""Return of freed memory to the system, some time after requests."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable
from functools import cache

PAUSE = 20.0
"""Seconds between a request and the return of memory, which takes milliseconds."""


class FreeMemory:
    """Returns the memory that requests have used and freed.

    glibc keeps freed blocks below a block in use: after bodies of megabytes and many connections,
    a server would hold three times the memory that it needs. An idle server does nothing.
    """

    def __init__(self, pause: float = PAUSE) -> None:
        self._pause = pause
        self._timer: asyncio.TimerHandle | None = None

    def return_later(self) -> None:
        """Return freed memory after the pause, once for all requests that arrive in it."""
        if self._timer is None and _trim() is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._pause, self._start, loop)

    def close(self) -> None:
        """Cancel the pending return."""
        if self._timer is not None:
            self._timer.cancel()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if trim := _trim():
            loop.run_in_executor(None, trim, 0)


@cache
def _trim() -> Callable[[int], int] | None:
    """Return glibc's malloc_trim; None on other systems, which return memory themselves."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
