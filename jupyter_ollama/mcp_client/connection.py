"""One connection to an MCP server, by stdio or HTTP, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

from ..child_environment import child_environment
from ..errors import OllamaError, one_line
from .settings import McpServer
from .stderr_tail import StderrTail

_BROKEN = (-32000, -32001, 408)
"""Codes that the mcp package makes itself: the connection closed, or a request timed out."""
_CLOSE_SECONDS = 10.0
"""The mcp package gives a process 2 s to end by itself, 2 s after SIGTERM, then kills it."""


class Connection:
    """An MCP server that is connected.

    One task opens and closes the connection: the cancel scopes of anyio, which the mcp package
    uses, must be left by the task that entered them.
    """

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._closing = asyncio.Event()
        self._tail: StderrTail | None = None
        self._task: asyncio.Task[None] | None = None
        self.session: Any = None

    @property
    def alive(self) -> bool:
        """Whether calls can be sent: the task runs, and the process has not ended."""
        ended = self._tail is not None and self._tail.ended
        return self._task is not None and not self._task.done() and not ended

    async def open(self, seconds: float) -> None:
        """Start or reach the server. Raises OllamaError: 504 after ``seconds``, 502 if it fails."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(ready))
        try:
            async with asyncio.timeout(seconds):
                await ready
        except TimeoutError:
            await self.close()
            raise OllamaError(504, self.error(f"did not start within {seconds:g} s")) from None
        except asyncio.CancelledError:
            await self.close()
            raise
        except Exception as error:
            await self.close()
            raise OllamaError(502, self.error(f"does not start: {described(error)}")) from error

    def error(self, what: str) -> str:
        """Return a sentence about this server, with the last line of its standard error."""
        last = one_line(self._tail.text) if self._tail else ""
        return f"the MCP server {self._server.name} {what}" + (f" ({last})" if last else "")

    async def close(self) -> None:
        """Close the connection; a process of this server ends, by a signal if need be."""
        self._closing.set()
        task = self._task
        if task is None:
            return
        grace = 0 if self.session is None else _CLOSE_SECONDS
        _, pending = await asyncio.wait([task], timeout=grace)
        if pending:  # it is still starting, or hangs
            task.cancel()
            await asyncio.wait([task], timeout=_CLOSE_SECONDS)

    async def _hold(self, ready: asyncio.Future[None]) -> None:
        try:
            async with self._connected() as session:
                self.session = session
                if self._tail:
                    self._tail.release()
                if not ready.done():
                    ready.set_result(None)
                await self._closing.wait()
        except (Exception, asyncio.CancelledError) as error:
            if not ready.done():
                ready.set_exception(
                    ConnectionError("cancelled")
                    if isinstance(error, asyncio.CancelledError)
                    else error
                )
                ready.exception()  # marks it as read: the waiting call may have ended
        finally:
            if self._tail:
                self._tail.close()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        """Yield a session of the mcp package, whose versions 1 and 2 both are in use."""
        from mcp import ClientSession

        async with self._streams() as streams, ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            yield session

    def _streams(self) -> AbstractAsyncContextManager[Any]:
        """Return a context of the streams to and from the server."""
        server = self._server
        if server.url:
            return _by_http(server)
        from mcp import StdioServerParameters, stdio_client

        self._tail = StderrTail()
        parameters = StdioServerParameters(
            command=server.command,
            args=[*server.args],
            env={**child_environment(), **server.env},
            cwd=server.cwd or None,
        )
        streams: AbstractAsyncContextManager[Any] = stdio_client(parameters, self._tail.file)
        return streams


@asynccontextmanager
async def _by_http(server: McpServer) -> AsyncIterator[Any]:
    """Yield the streams of a server by HTTP."""
    from mcp.client.streamable_http import streamable_http_client

    # The package takes a client of the library that it uses itself.
    http = import_module("httpx" if version("mcp").startswith("1.") else "httpx2")
    # Redirects could send the headers, and the arguments of calls, to another host.
    client = http.AsyncClient(headers=dict(server.headers), timeout=None, follow_redirects=False)
    async with client, streamable_http_client(server.url, http_client=client) as streams:
        yield streams


def described(error: BaseException) -> str:
    """Return the text of the first single error of a group, without the details of classes."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{error.filename} is not found"
    if message := getattr(getattr(error, "error", None), "message", ""):
        return one_line(message)  # of the protocol
    with contextlib.suppress(Exception):
        if text := one_line(error):
            return text
    return type(error).__name__


def is_refusal(error: BaseException) -> bool:
    """Return whether an error is the server's own answer to a request: the connection works."""
    code = getattr(getattr(error, "error", None), "code", None)
    return isinstance(code, int) and code not in _BROKEN
