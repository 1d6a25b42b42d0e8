"""A server with several users for the benchmarks: it believes the name in a header."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import IO, Any

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

USER = "X-User"
"""The header that names the user, and groups: "ann/students"."""

MANAGERS = ("manager",)
"""The users who may change models; the others may run them."""


class NamedExchange(StandaloneExchange):
    """Takes the user and groups from a header."""

    def prepare(self) -> None:
        name, *groups = self.request.headers.get(USER, "nobody").split("/")
        self.requester = Requester(name, tuple(groups))
        super().prepare()

    async def may(self, action: str, resource: str) -> bool:
        """Allow managers everything, others all calls that do not change models."""
        return resource in ("ollama", "ollama:run") or self.requester.name in MANAGERS


class NamedStream(NamedExchange, StandalonePageStream):
    """Serves the changes of the page to such a user."""


class NamedPage(NamedExchange, StandalonePage):
    """Serves the page to such a user."""


async def serve(traits: dict[str, Any]) -> None:
    """Serve until stdin is closed; print the port."""
    server = OllamaServer(**traits)
    application = Application(
        [
            *standalone_page_handlers(server, NamedStream, NamedPage),
            *((r.path + "/?", NamedExchange, {"server": server, "route": r}) for r in ROUTES),
        ],
        origins=Origins([]),
        check_host=True,
    )
    (socket,) = bind_sockets(0, "127.0.0.1")
    HTTPServer(application, max_buffer_size=2**30).add_socket(socket)
    print(socket.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


async def with_server(
    work: Callable[[int], Awaitable[None]], log: IO[bytes] | None = None, **traits: Any
) -> None:
    """Do something with the port of a server of its own, which has these traits and logs."""
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, __file__, json.dumps(traits)]
    server = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=log)
    assert server.stdin
    assert server.stdout
    try:
        await work(int(await server.stdout.readline()))
    finally:
        server.stdin.close()
        await asyncio.wait_for(server.wait(), 60)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
