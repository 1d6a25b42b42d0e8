"""A server on loopback with answers that a test sets; it records its requests."""

from __future__ import annotations

import asyncio
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tornado import web

MODEL = {"name": "echo:latest", "digest": "d" * 64, "capabilities": ["completion"]}


def shout(text: str) -> str:
    return text.upper()


class RowServer:
    """Answers ``answer(text)`` to each row; texts that contain "bad" get the error ``status``.

    A model in ``answers`` has a function of its own. ``probability(text)`` is that of the only
    token of an answer; 0 is not sent.

    Rows from the ``stop_at``-th on wait until ``go_on`` is set. The first ``busy`` requests get
    ``busy_status``, and so do requests beyond ``capacity`` at a time. From the ``lost_at``-th on,
    all connections break. Each answer takes ``pause`` seconds.
    """

    def __init__(self) -> None:
        self.answer: Callable[[str], str] = shout
        self.answers: dict[str, Callable[[str], str]] = {}
        self.probability: Callable[[str], float] = lambda text: 0.9
        self.status = 500
        self.stop_at = 10**9
        self.stopped = threading.Event()
        self.go_on = threading.Event()
        self.dropped = threading.Event()
        self.models: list[dict[str, Any]] = [dict(MODEL)]
        self.bodies: list[dict[str, Any]] = []
        self.answered: list[str] = []
        self.tokens: set[str] = set()
        self.priorities: set[str] = set()
        self.at_once = self.most_at_once = 0
        self.busy = 0
        self.busy_status = 503
        self.capacity = 10**9
        self.retry_after: Callable[[], str | None] = lambda: None
        self.arrivals: list[float] = []
        self.lost_at = 10**9
        self.pause = 0.0

    def sent(self) -> Counter[str]:
        """Return the number of requests for each text."""
        return Counter(body["messages"][-1]["content"] for body in self.bodies)


class _Handler(web.RequestHandler):
    def initialize(self, server: RowServer) -> None:
        self.server = server

    def prepare(self) -> None:
        server = self.server
        if len(server.bodies) >= server.lost_at:
            self.request.connection.stream.close()
            raise web.Finish


class _Chat(_Handler):
    def on_connection_close(self) -> None:
        self.server.dropped.set()

    async def post(self) -> None:
        server, body = self.server, json.loads(self.request.body)
        server.bodies.append(body)
        server.arrivals.append(time.monotonic())
        server.priorities.add(self.request.headers.get("X-Ollama-Priority", ""))
        server.tokens.add(self.request.headers.get("Authorization", ""))
        if server.busy or server.at_once >= server.capacity:
            self._refuse()
            return
        server.at_once += 1
        server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            await self._answer(body)
        finally:
            server.at_once -= 1

    def _refuse(self) -> None:
        self.server.busy = max(self.server.busy - 1, 0)
        self.set_status(self.server.busy_status)
        after = self.server.retry_after()
        if after is not None:
            self.set_header("Retry-After", after)
        self.finish({"error": "come later"})

    async def _answer(self, body: dict[str, Any]) -> None:
        server, text = self.server, body["messages"][-1]["content"]
        if len(server.bodies) > server.stop_at:
            server.stopped.set()
            # They are set in other threads.
            while not (server.go_on.is_set() or server.dropped.is_set()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # Later rows are answered first.
        await asyncio.sleep(server.pause + 0.02 / len(server.bodies))
        if "bad" in text:
            self.set_status(server.status)
            self.finish({"error": f"cannot do {text}"})
        elif len(server.bodies) >= server.lost_at:
            self.request.connection.stream.close()
        else:
            server.answered.append(text)
            answer_of = server.answers.get(body["model"], server.answer)
            message = {"role": "assistant", "content": answer_of(text)}
            answer = {"message": message, "done": True, "done_reason": "stop"}
            answer |= {"prompt_eval_count": 3, "eval_count": 1}
            if body.get("logprobs") and server.probability(text):
                sure = math.log(server.probability(text))
                answer["logprobs"] = [{"token": message["content"], "logprob": sure}]
            self.finish(answer)


class _Embed(_Handler):
    def post(self) -> None:
        body = json.loads(self.request.body)
        self.server.bodies.append(body)
        if any("bad" in text for text in body["input"]):
            self.set_status(self.server.status)
            self.finish({"error": "cannot do one of them"})
        else:
            self.finish({"embeddings": [[len(text), ord(text[0])] for text in body["input"]]})


class _Tags(_Handler):
    def get(self) -> None:
        self.finish({"models": self.server.models})


def application(server: RowServer) -> web.Application:
    """Return the routes of ``server``."""
    given = {"server": server}
    routes = {"/api/chat": _Chat, "/api/embed": _Embed, "/api/tags": _Tags}
    return web.Application([(path, handler, given) for path, handler in routes.items()])
