"""A thread for long work in Python, such as decoding megabytes, outside of the event loop."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakValueDictionary

T = TypeVar("T")

SWITCH_SECONDS = 5e-4
"""The switch interval: the longest time for which the work delays the event loop at once."""


class LongWork:
    """Runs one piece of work after the other, round robin over users.

    Only one thread of Python runs at a time: more threads would delay the event loop and the
    threads that read files for other requests.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="long-work")
        self._lock = asyncio.Lock()
        self._user_locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def do(self, user: str, work: Callable[[], T]) -> T:
        """Return the result of ``work``. A user's next piece is queued after the previous one."""
        user_lock = self._user_locks.get(user)
        if user_lock is None:
            user_lock = self._user_locks[user] = asyncio.Lock()
        async with user_lock, self._lock:
            future = asyncio.get_running_loop().run_in_executor(self._pool, _run_switching, work)
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError:
                # The thread cannot be interrupted: keep the lock until its work is done.
                await asyncio.wait([future])
                _ = future.cancelled() or future.exception()  # retrieved, or asyncio logs it
                raise

    def close(self) -> None:
        """Accept no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _run_switching(work: Callable[[], T]) -> T:
    """Run work with a short switch interval, so that other threads run in between."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(min(usual, SWITCH_SECONDS))
    try:
        return work()
    finally:
        sys.setswitchinterval(usual)
