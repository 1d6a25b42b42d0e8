"""A server with many users: the stand-alone one, which trusts the user names in a header."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import SO_SNDBUF, SOL_SOCKET
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

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
from jupyter_ollama.page import standalone_page_handlers
from jupyter_ollama.page.handlers import StandalonePage, StandalonePageStream
from jupyter_ollama.page.observer import Observer

USER = "X-Test-User"
"""Names a user and groups: "ann/students"."""


PLAIN = ("ollama", "ollama:run")
"""The resources of users of the group "plain"."""


class Named(StandaloneExchange):
    """Takes the user from a header. Those of the group "members" may not change models."""

    async def may(self, action: str, resource: str) -> bool:
        groups = self.requester.groups
        if "plain" in groups and resource not in PLAIN:
            return False
        return resource != "ollama:models" or "members" not in groups

    def prepare(self) -> None:
        # Browsers send headers in Latin-1, names are UTF-8.
        text = unquote(self.request.headers.get(USER, "nobody"))
        name, *groups = text.split("/")
        self.requester = Requester(name, tuple(groups))
        super().prepare()


class NamedExchange(Named):
    """Serves the API to such a user."""


class NamedStream(Named, StandalonePageStream):
    """Serves the changes of the page to such a user."""


class NamedPage(Named, StandalonePage):
    """Serves the page to such a user."""


class Shared:
    """A running server, and requests to it in the name of users."""

    def __init__(self, server: OllamaServer, url: str, observer: Observer) -> None:
        self.server = server
        self.observer = observer
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
    # Batches and system prompts would otherwise be those of the user who runs the tests.
    folder = TemporaryDirectory()
    folders = {"batch_dir": f"{folder.name}/batches", "prefix_dir": f"{folder.name}/prefixes"}
    server = OllamaServer(**(folders | traits))
    (socket,) = bind_sockets(0, "127.0.0.1", backlog=server.max_connections)
    if send_buffer:
        socket.setsockopt(SOL_SOCKET, SO_SNDBUF, send_buffer)
    observer = Observer(server)
    application = Application(
        [
            *standalone_page_handlers(server, NamedStream, NamedPage, observer),
            *((r.path + "/?", NamedExchange, {"server": server, "route": r}) for r in ROUTES),
        ],
        origins=Origins([]),
        check_host=True,
    )
    http_server = HTTPServer(application)
    http_server.add_socket(socket)
    shared = Shared(server, f"http://127.0.0.1:{socket.getsockname()[1]}", observer)
    try:
        yield shared
    finally:
        shared.client.close()
        http_server.stop()
        await http_server.close_all_connections()
        await asyncio.wait_for(server.stop(), 60)
        folder.cleanup()
