"""The thread of widgets and of ``%%chat --bg``.

A kernel runs a cell at a time, and with it what widgets are told may wait or may come in a thread
of the kernel's. So all of it goes to one event loop in a thread of its own. Nothing else changes
what is shown, and stopping is cancelling a task, which closes its connection at once.
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
    """Have ``function`` called by the loop, soon; calls keep their order."""
    _running_loop().call_soon_threadsafe(function, *args)


def start(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start a task; only what the loop calls may do so."""
    task = asyncio.get_running_loop().create_task(coroutine)
    # A loop alone does not keep its tasks.
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
