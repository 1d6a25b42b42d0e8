"""Tools of MCP servers for ``--tools mcp:NAME``; the Ollama server holds the connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyter_ollama_client.client import Client
from jupyter_ollama_client.errors import OllamaResponseError

from .failures import OllamaMagicsError
from .names import listed

PREFIX = "mcp:"


class McpTool:
    """A tool of an MCP server. Its ``policy_name`` is "mcp:SERVER.TOOL"."""

    def __init__(self, client: Client, server: str, described: Mapping[str, Any]) -> None:
        self._client = client
        self._server = server
        self._described = dict(described)
        self.name = str(described["name"])
        self.policy_name = f"{PREFIX}{server}.{self.name}"
        self.origin = f" of the MCP server {server}"

    def definition(self) -> dict[str, Any]:
        """Return name, description and parameters as the MCP server states them."""
        return self._described

    def fault(self, arguments: Mapping[str, Any]) -> str:
        """Return which required arguments are missing; the MCP server checks the rest."""
        required = self._described["parameters"].get("required") or []
        missing = [name for name in required if name not in arguments]
        return f"misses the arguments {listed(missing)}" if missing else ""

    def run(self, arguments: Mapping[str, Any]) -> str:
        """Call the tool. Raises OllamaResponseError if the MCP server fails."""
        result = self._client.call_mcp_tool(self._server, self.name, dict(arguments))
        return f"Error: {result['content']}" if result["is_error"] else str(result["content"])


def find(client: Client, text: str) -> list[McpTool]:
    """Return the tools of "mcp:SERVER", or the one of "mcp:SERVER.TOOL".

    Raises OllamaMagicsError if the server has no such MCP server or tool, or it does not work.
    """
    name, _, tool_name = text.removeprefix(PREFIX).partition(".")
    try:
        servers = {str(server["name"]): server for server in client.mcp_tools()}
    except OllamaResponseError as error:
        if error.status != 404:
            raise
        raise OllamaMagicsError(
            f"{client.url} has no MCP servers: it is another server."
        ) from error
    if name not in servers:
        have = f" It has {listed(list(servers))}." if servers else ""
        raise OllamaMagicsError(
            f"{client.url} has no MCP server {name}.{have} OllamaServer.mcp_servers adds one."
        )
    server = servers[name]
    tools = {str(tool["name"]): McpTool(client, name, tool) for tool in server["tools"]}
    if tool_name and tool_name not in tools:
        if tool_name in server["not_allowed"]:
            raise OllamaMagicsError(
                f"{tool_name} of {name} is not among the tools OllamaServer.mcp_servers allows."
            )
        raise OllamaMagicsError(f"The MCP server {name} has no tool {tool_name}.")
    if not tools:
        reason = server["error"] or "OllamaServer.mcp_servers allows none of its tools"
        raise OllamaMagicsError(f"The MCP server {name} gives no tools: {reason}.")
    return [tools[tool_name]] if tool_name else list(tools.values())
