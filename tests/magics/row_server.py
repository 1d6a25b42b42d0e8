"""A server on loopback whose answers to rows a test sets, and which keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from tornado import web

MODEL = {"name": "echo:latest", "digest": "d" * 64, "capabilities": ["completion"]}


def shout(text: str) -> str:
    return text.upper()


class RowServer:
    """Answers ``answer(text)`` to each row; texts with "bad" in them are refused by ``status``.

    Rows from the ``stop_at``-th on wait until ``go_on`` is set.
    """

    def __init__(self) -> None:
        self.answer: Callable[[str], str] = shout
        self.status = 500
        self.stop_at = 10**9
        self.stopped = threading.Event()
        self.go_on = threading.Event()
        self.dropped = threading.Event()
        self.models: list[dict[str, Any]] = [dict(MODEL)]
        self.bodies: list[dict[str, Any]] = []
        self.at_once = self.most_at_once = 0

    def asked(self) -> Counter[str]:
        """Return how often each text was asked about."""
        return Counter(body["messages"][-1]["content"] for body in self.bodies)


class _Chat(web.RequestHandler):
    def initialize(self, server: RowServer) -> None:
        self.server = server

    def on_connection_close(self) -> None:
        self.server.dropped.set()

    async def post(self) -> None:
        server, body = self.server, json.loads(self.request.body)
        server.bodies.append(body)
        server.at_once += 1
        server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            await self._answer(body)
        finally:
            server.at_once -= 1

    async def _answer(self, body: dict[str, Any]) -> None:
        server, text = self.server, body["messages"][-1]["content"]
        if len(server.bodies) > server.stop_at:
            server.stopped.set()
            # They are set in other threads.
            while not (server.go_on.is_set() or server.dropped.is_set()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # Later rows are answered first.
        await asyncio.sleep(0.02 / len(server.bodies))
        if "bad" in text:
            self.set_status(server.status)
            self.finish({"error": f"cannot do {text}"})
        else:
            message = {"role": "assistant", "content": server.answer(text)}
            self.finish({"message": message, "done": True, "done_reason": "stop"})


class _Tags(web.RequestHandler):
    def initialize(self, server: RowServer) -> None:
        self.server = server

    def get(self) -> None:
        self.finish({"models": self.server.models})


def application(server: RowServer) -> web.Application:
    """Return the routes of ``server``."""
    given = {"server": server}
    return web.Application([("/api/chat", _Chat, given), ("/api/tags", _Tags, given)])
