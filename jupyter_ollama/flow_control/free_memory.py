"""Return of freed memory to the system, some time after requests."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable
from functools import cache

PAUSE = 20.0
"""Seconds between a request and the return of memory, which takes milliseconds."""

ARENAS = 1
"""Heaps of glibc in this process. By default there are 8 for each core, one for each thread until
then, and malloc_trim returns little of the heaps of threads. A server needs no more: its threads
allocate under Python's lock."""

MAPPED_BYTES = 2**18
"""Blocks from this size on are mappings of their own, which return to the system when they are
freed. glibc would raise its first value, 128 KiB, to the size of the largest block that was freed,
up to 32 MiB."""

KEPT_BYTES = 2**19
"""Free bytes that a heap keeps at its end; glibc's ratio to the size of mapped blocks."""

# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def bound_heaps() -> None:
    """Let this process have one heap, which returns large blocks at once.

    Threads that have a heap of their own keep it: a server calls this before it starts threads.
    """
    if mallopt := _function("mallopt"):
        mallopt(_M_ARENA_MAX, ARENAS)
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


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
        if self._timer is None and _function("malloc_trim"):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._pause, self._start, loop)

    def close(self) -> None:
        """Cancel the pending return."""
        if self._timer is not None:
            self._timer.cancel()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if trim := _function("malloc_trim"):
            loop.run_in_executor(None, trim, 0)


@cache
def _function(name: str) -> Callable[..., int] | None:
    """Return a function of glibc; None on other systems, which return memory themselves."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), name, None)
