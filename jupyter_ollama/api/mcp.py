"""GET /api/mcp and POST /api/mcp/call: the tools of the MCP servers of the settings."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import OllamaError
from .endpoint import Call, Reply

NOT_SHARED = "this server is shared, and OllamaServer.mcp_shared is not set"


class McpCallRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/mcp/call."""

    server: str = ""
    tool: str = ""
    arguments: dict[str, Any] = {}


async def catalog(call: Call) -> Reply:
    """Answer with the servers and the tools that may be called, none where they are not shared."""
    servers = await call.server.mcp.catalog() if _open(call) else []
    return Reply({"servers": servers})


async def call(call: Call) -> Reply:
    """Answer with the result of a call."""
    request = call.decode(McpCallRequest)
    if not _open(call):
        raise OllamaError(403, NOT_SHARED)
    for name in ("server", "tool"):
        if not getattr(request, name):
            raise OllamaError(400, f"{name} is required")
    return Reply(await call.server.mcp.call(request.server, request.tool, request.arguments))


def _open(call: Call) -> bool:
    """Return whether the caller may use MCP servers at all."""
    server = call.server
    server.admission.account(call.requester.name)  # a second user makes a server shared
    return server.mcp_shared or not server.admission.is_shared
