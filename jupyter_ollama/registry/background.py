"""An event loop in a separate thread, so that transfers never block the server's own loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundLoop:
    """Runs asynchronous generators in another thread, which starts with the first of them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def stream(self, generator: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """Yield the items of a generator that runs in the other thread; closing this closes it."""
        turn = asyncio.Lock()
        loop = self._start()

        async def step() -> T | None:
            async with turn:
                return await anext(generator, None)

        async def close() -> None:
            async with turn:  # a cancelled step must end first
                await generator.aclose()

        try:
            while (item := await _result(loop, step())) is not None:
                yield item
        finally:
            if self._loop is loop:  # else ``stop`` has cancelled it
                await asyncio.shield(_result(loop, close()))

    def stop(self) -> None:
        """Cancel all generators and end the thread."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return

        async def cancel() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

        asyncio.run_coroutine_threadsafe(cancel(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _start(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A daemon thread does not delay the exit; its writes may be interrupted at any point.
            self._thread = threading.Thread(
                target=self._loop.run_forever, name="transfers", daemon=True
            )
            self._thread.start()
        return self._loop


def _result(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]
) -> asyncio.Future[T]:
    """Run a coroutine in another loop; cancelling the returned future cancels it there."""
    return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))
