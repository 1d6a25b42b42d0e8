"""A small MCP server: `python small_mcp_server.py` by stdio, with a port by HTTP on loopback."""

from __future__ import annotations

import os
import sys
import time

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("small")


@server.tool()
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


@server.tool()
def fail() -> str:
    """Raise an error."""
    raise ToolError("it fails on purpose")


@server.tool()
def long_text(length: int) -> str:
    """Return a text of a length."""
    return "x" * length


@server.tool()
def hang() -> str:
    """Do not answer."""
    time.sleep(600)
    return "late"


@server.tool()
def crash() -> str:
    """End the process."""
    sys.stderr.write("something broke\n")
    sys.stderr.flush()
    os._exit(3)


@server.tool()
def environment() -> str:
    """Return the names of the variables of this process, and its id."""
    return " ".join([str(os.getpid()), *sorted(os.environ)])


@server.tool()
def page() -> str:
    """Return the text in the variable PAGE, as a server that reads foreign pages would."""
    return os.environ["PAGE"]


@server.tool()
def secret_of_the_server() -> str:
    """Return something that no test allows."""
    return "42"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run(transport="stdio")
