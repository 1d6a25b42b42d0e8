"""The interface of this package: the allowed tools of all MCP servers, and their calls."""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ..errors import OllamaError, one_line
from .results import described_result, described_tool, wire
from .settings import McpServer, read_server

if TYPE_CHECKING:
    from .connection import Connection
    from .settings import McpSettings

log = logging.getLogger(__name__)

MISSING = 'MCP servers need more packages: pip install "jupyter-ollama[mcp]"'
_MOST_PAGES = 20


class _Entry:
    """A server of the settings, its connection while it has one, and its calls under way."""

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self.connection: Connection | None = None
        self.opening = asyncio.Lock()
        self.running = 0


class McpServers:
    """The MCP servers of the settings. Each starts when it is first used."""

    def __init__(self, settings: McpSettings) -> None:
        self._settings = settings
        self._entries = {
            name: _Entry(read_server(name, given)) for name, given in settings.mcp_servers.items()
        }

    async def catalog(self) -> list[dict[str, Any]]:
        """Return the servers with their allowed tools; ``error`` says why one has none."""
        return await asyncio.gather(*(self._described(entry) for entry in self._entries.values()))

    async def call(self, name: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool and return its result: ``content``, ``is_error`` and ``truncated``.

        Raises OllamaError: 404 for an unknown server, 403 for a tool that is not allowed, 429 for
        too many calls, 502 if the server fails and 504 if it takes too long.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise OllamaError(404, f"there is no MCP server {one_line(repr(name))}")
        if tool not in entry.server.tools:
            raise OllamaError(
                403,
                f"the tool {one_line(repr(tool))} of the MCP server {name} is not allowed: "
                "OllamaServer.mcp_servers lists the tools that are",
            )
        if entry.running >= self._settings.mcp_concurrent:
            raise OllamaError(429, f"{entry.running} calls of the MCP server {name} are under way")
        entry.running += 1
        try:
            connection = await self._connect(entry)
            result = await self._answered(
                entry,
                connection,
                connection.session.call_tool(tool, arguments),
                self._settings.mcp_call_seconds,
            )
        finally:
            entry.running -= 1
        return described_result(wire(result), self._settings.mcp_max_result)

    def running(self, name: str) -> int:
        """Return the number of calls of a server that are under way."""
        return self._entries[name].running

    async def close(self) -> None:
        """End all connections and processes."""
        connections = [entry.connection for entry in self._entries.values() if entry.connection]
        await asyncio.gather(*(connection.close() for connection in connections))

    async def _described(self, entry: _Entry) -> dict[str, Any]:
        described: dict[str, Any] = {
            "name": entry.server.name,
            "tools": [],
            "not_allowed": [],
            "error": "",
        }
        try:
            tools = await self._list(entry)
        except OllamaError as error:
            return described | {"error": error.message}
        found = {str(tool["name"]): described_tool(tool) for tool in tools}
        allowed = [found[name] for name in entry.server.tools if found.get(name)]
        missing = [name for name in entry.server.tools if not found.get(name)]
        if missing:
            described["error"] = (
                f"the MCP server {entry.server.name} has no usable tool {', '.join(missing)}"
            )
        others = sorted(one_line(name) for name in {*found} - {*entry.server.tools})
        return described | {"tools": allowed, "not_allowed": others}

    async def _list(self, entry: _Entry) -> list[dict[str, Any]]:
        connection = await self._connect(entry)
        seconds = self._settings.mcp_start_seconds
        found: list[dict[str, Any]] = await self._answered(
            entry, connection, _pages(connection.session), seconds
        )
        return found

    async def _connect(self, entry: _Entry) -> Connection:
        """Return the connection of a server, a new one if it has none or its process ended."""
        if find_spec("mcp") is None:
            raise OllamaError(501, MISSING)
        async with entry.opening:
            if entry.connection is not None and entry.connection.alive:
                return entry.connection
            if entry.connection is not None:
                log.warning("%s", entry.connection.error("has ended, it is started again"))
                await entry.connection.close()
                entry.connection = None
            # The package takes about a second to import: not in the event loop.
            await asyncio.to_thread(import_module, "mcp")
            from .connection import Connection

            connection = Connection(entry.server)
            await connection.open(self._settings.mcp_start_seconds)
            entry.connection = connection
            return connection

    async def _answered(
        self, entry: _Entry, connection: Connection, answer: Any, seconds: float
    ) -> Any:
        """Wait for an answer. A connection that fails is closed; the next call makes another."""
        from .connection import described, is_refusal

        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError:
            what = f"did not answer within {seconds:g} s and was stopped"
            error = OllamaError(504, connection.error(what))
        except Exception as failure:
            if is_refusal(failure):
                raise OllamaError(502, connection.error(f"refuses: {described(failure)}")) from None
            error = OllamaError(502, connection.error(f"failed: {described(failure)}"))
        if entry.connection is connection:
            entry.connection = None
        await connection.close()
        raise error


async def _pages(session: Any) -> list[dict[str, Any]]:
    """Return all tools of a server, on as many pages as it has, but not endlessly."""
    from mcp.types import PaginatedRequestParams

    tools: list[dict[str, Any]] = []
    cursor = None
    for _ in range(_MOST_PAGES):
        page = wire(await session.list_tools(params=PaginatedRequestParams(cursor=cursor)))
        tools += page["tools"]
        cursor = page.get("nextCursor")
        if not cursor:
            break
    return tools
