"""A server with many users: the stand-alone one, which trusts the user names in a header."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any

from api_client import Fetch
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from jupyter_ollama.api.origins import Origins
from jupyter_ollama.api.requester import Requester
from jupyter_ollama.api.routes import ROUTES
from jupyter_ollama.api.standalone import StandaloneExchange
from jupyter_ollama.config import OllamaServer

USER = "X-Test-User"
"""Names a user and groups: "ann/students"."""


class NamedExchange(StandaloneExchange):
    """Takes the user from a header. Those of the group "members" may not change models."""

    async def may(self, action: str, resource: str) -> bool:
        return resource != "ollama:models" or "members" not in self.requester.groups

    def prepare(self) -> None:
        name, *groups = self.request.headers.get(USER, "nobody").split("/")
        self.requester = Requester(name, tuple(groups))
        super().prepare()


class Shared:
    """A running server, and requests to it in the name of users."""

    def __init__(self, server: OllamaServer, url: str) -> None:
        self.server = server
        self.url = url
        # The client that others use sends ten requests at once.
        self.client = AsyncHTTPClient(force_instance=True, max_clients=1000)

    def user(self, name: str) -> Fetch:
        """Return a fetch function for a user."""

        async def fetch(method: str, path: str, body: Any = None, **options: Any) -> HTTPResponse:
            return await self.client.fetch(
                self.url + path,
                method=method,
                body=None if body is None else json.dumps(body).encode(),
                headers={USER: name} | options.pop("headers", {}),
                raise_error=False,
                allow_nonstandard_methods=True,
                request_timeout=100,
                **options,
            )

        return fetch


@asynccontextmanager
async def sharing(*, send_buffer: int = 0, **traits: Any) -> AsyncIterator[Shared]:
    """Run such a server. The kernel keeps ``send_buffer`` bytes of an answer, 0 for its default."""
    server = OllamaServer(**traits)
    (socket,) = bind_sockets(0, "127.0.0.1")
    if send_buffer:
        socket.setsockopt(SOL_SOCKET, SO_SNDBUF, send_buffer)
    application = Application(
        [(r.path + "/?", NamedExchange, {"server": server, "route": r}) for r in ROUTES],
        origins=Origins([]),
        check_host=True,
    )
    http_server = HTTPServer(application)
    http_server.add_socket(socket)
    shared = Shared(server, f"http://127.0.0.1:{socket.getsockname()[1]}")
    try:
        yield shared
    finally:
        shared.client.close()
        http_server.stop()
        await http_server.close_all_connections()
        await asyncio.wait_for(server.stop(), 60)
