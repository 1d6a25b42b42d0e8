"""A server on loopback that knows which pairs are the same; a real server does the rest."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from jupyter_ollama_client import Client
from jupyter_ollama_client.errors import OllamaResponseError
from tornado import web


class KnowingServer:
    """Answers ``/api/score`` with the probability that ``yes`` gives to a statement.

    It passes all other requests to the server at ``url``. ``scored`` holds the statements.
    """

    def __init__(self, url: str, yes: Callable[[str], float]) -> None:
        self.client = Client(url)
        self.yes = yes
        self.scored: list[str] = []


class _Score(web.RequestHandler):
    def initialize(self, server: KnowingServer) -> None:
        self.server = server

    def post(self) -> None:
        body = json.loads(self.request.body)
        if not body.get("continuations"):
            self.set_status(400)
            self.finish({"error": "continuations must be a list of texts"})
            return
        statement = body["messages"][-1]["content"]
        self.server.scored.append(statement)
        yes = self.server.yes(statement)
        shares = [yes if text[0] in "yY" else 1 - yes for text in body["continuations"]]
        results = [{"logprob": math.log(max(share, 1e-30))} for share in shares]
        self.finish({"results": results})


class _Passed(web.RequestHandler):
    def initialize(self, server: KnowingServer) -> None:
        self.server = server

    def get(self) -> None:
        self._pass("GET")

    def post(self) -> None:
        body = json.loads(self.request.body)
        body.pop("encoding_format", None)
        self._pass("POST", body)

    def _pass(self, method: str, body: dict[str, Any] | None = None) -> None:
        try:
            self.finish(self.server.client.call(method, self.request.path, body))
        except OllamaResponseError as error:
            self.set_status(error.status)
            self.finish({"error": error.message})


def application(server: KnowingServer) -> web.Application:
    """Return the routes of ``server``."""
    given = {"server": server}
    return web.Application([("/api/score", _Score, given), ("/.*", _Passed, given)])
