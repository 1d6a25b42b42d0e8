"""The heap of this process: glibc's settings, and the return of freed memory to the system.

Other systems return freed memory themselves: the functions do nothing there.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

ARENAS = 1
"""Heaps of glibc in this process. By default there are 8 for each core, one for each thread until
then, and malloc_trim returns little of the heaps of threads. A server and a runner need no more:
their threads allocate under Python's lock for the most part."""

MAPPED_BYTES = 2**18
"""Blocks from this size on are mappings of their own, which return to the system when they are
freed. glibc would raise its first value, 128 KiB, to the size of the largest block that was freed,
up to 32 MiB."""

KEPT_BYTES = 2**19
"""Free bytes that a heap keeps at its end; glibc's ratio to the size of mapped blocks."""

# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def share_one_heap() -> None:
    """Let the threads of this process share one heap.

    Threads that have a heap of their own keep it: a process calls this before it starts threads.
    """
    _set(_M_ARENA_MAX, ARENAS)


def map_large_blocks() -> None:
    """Let large blocks return to the system as soon as they are freed."""
    _set(_M_MMAP_THRESHOLD, MAPPED_BYTES)
    _set(_M_TRIM_THRESHOLD, KEPT_BYTES)


def can_return_memory() -> bool:
    """Return whether `return_memory` has an effect on this system."""
    return _function("malloc_trim") is not None


def return_memory() -> None:
    """Return freed memory to the system. Takes milliseconds."""
    if trim := _function("malloc_trim"):
        trim(0)


def _set(parameter: int, value: int) -> None:
    if mallopt := _function("mallopt"):
        mallopt(parameter, value)


@cache
def _function(name: str) -> Callable[..., int] | None:
    """Return a function of glibc; None on other systems and with another C library."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), name, None)
