"""A server with many users and its page, for a browser: its event loop runs in a thread."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jupyter_ollama.usage.tables import SCHEMA

sys.path.append(str(Path(__file__).parents[1] / "api"))

from api_client import chat, generate
from shared_server import USER, Shared, sharing

__all__ = ["ADMIN", "USER", "PageServer", "chat", "generate", "page_server", "record_history"]

ADMIN = "root/admins"
HOUR = 3600.0


class PageServer:
    """A running server. Everything that touches it runs in its loop."""

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        self.shared = shared
        self.url = shared.url
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the loop of the server and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def begin(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Start a coroutine and return its future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def read(self, look: Callable[[], Any]) -> Any:
        """Return the result of a function, called in the loop."""

        async def call() -> Any:
            return look()

        return self.run(call())

    def ask(self, method: str, path: str, body: Any = None, user: str = ADMIN) -> Any:
        """Return the JSON of an answer."""
        answer = self.run(self.shared.user(user)(method, path, body))
        assert answer.code == 200, answer.body
        return json.loads(answer.body) if answer.body else None


@contextmanager
def page_server(**traits: Any) -> Iterator[PageServer]:
    """Run a server in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = sharing(**traits)
    shared = asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(60)
    try:
        yield PageServer(shared, loop)
    finally:
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def record_history(file: Path, users: list[tuple[str, list[str]]], requests: int = 30) -> None:
    """Write requests of users of the last 20 days into a record of usage."""
    chance, now = random.Random(5), time.time()
    connection = sqlite3.connect(file)
    connection.executescript(SCHEMA)
    rows = [
        (
            now - chance.random() ** 2 * 20 * 24 * HOUR,
            *(user, json.dumps(groups), "smollm2:latest", "0" * 64, "/api/chat", 200),
            *(chance.randint(50, 900), 20, chance.randint(10, 400), 3, 900, ""),
            f"{user}-{number}-history",
        )
        for user, groups in users
        for number in range(requests)
    ]
    marks = ", ".join("?" * 14)
    connection.executemany(f"INSERT INTO usage VALUES ({marks})", rows)
    connection.commit()
    connection.close()
