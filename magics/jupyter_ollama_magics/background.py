"""The thread of widgets and of ``%%chat --bg``.

Messages to widgets wait while the kernel runs a cell, or arrive in another thread of the kernel. So
one event loop in a thread of its own handles all of them. Only this thread changes the outputs, and
cancelling a task closes its connection at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

_loop: asyncio.AbstractEventLoop | None = None
_tasks: set[asyncio.Task[None]] = set()
_starting = threading.Lock()


def call(function: Callable[..., Any], *args: Any) -> None:
    """Schedule a call of ``function`` by the loop; calls keep their order."""
    _running_loop().call_soon_threadsafe(function, *args)


def start(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task; only functions called by the loop may do so."""
    task = asyncio.get_running_loop().create_task(coroutine)
    # The loop holds only weak references to tasks.
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
    return task


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    with _starting:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(
                target=_loop.run_forever, name="ollama-background", daemon=True
            ).start()
        return _loop
