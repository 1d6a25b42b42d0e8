"""Coroutines that a kernel's main thread waits for, and that an interrupt of the kernel cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.1
"""Seconds between two calls of ``watch``."""


class _Cancellable:
    """A coroutine in another thread's event loop."""

    def __init__(self, work: Coroutine[Any, Any, Any]) -> None:
        self._work = work
        self._is_cancelled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    async def run(self) -> Any:
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._is_cancelled:
            # It begins nevertheless, and so keeps what it has.
            self._cancel_in(self._loop)
        return await self._work

    def cancel(self) -> None:
        """Cancel the coroutine, which may not have begun."""
        self._is_cancelled = True
        if self._loop:
            self._cancel_in(self._loop)

    def _cancel_in(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._task.cancel)  # type: ignore[union-attr]


def run_in_thread(work: Coroutine[Any, Any, T], watch: Callable[[], None] = lambda: None) -> T:
    """Return the result of a coroutine that runs in a thread, and call ``watch`` meanwhile.

    A kernel's main thread already runs an event loop. Any exception in this thread, an interrupt
    above all, cancels the coroutine and is raised when that has ended.
    """
    running = _Cancellable(work)
    with ThreadPoolExecutor(1) as pool:
        try:
            future = pool.submit(asyncio.run, running.run())
            while not wait([future], timeout=POLL_SECONDS).done:
                watch()
        except BaseException:
            running.cancel()
            raise
        result: T = future.result()
        return result
