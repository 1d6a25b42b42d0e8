"""The settings of MCP servers: which ones there are, and which of their tools may be called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from traitlets import Bool, Dict, Float, Int, TraitError
from traitlets import validate as validates
from traitlets.config import LoggingConfigurable

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEXTS = {"command": str, "cwd": str, "url": str}
_LISTS = ("args", "tools")
_MAPPINGS = ("env", "headers")


@dataclass(frozen=True)
class McpServer:
    """An MCP server: a ``command`` to run (stdio) or the ``url`` of one that runs (HTTP).

    ``tools`` are the names of the tools that may be called. ``env`` is added to the few variables
    that the process inherits, ``headers`` go with every request to ``url``.
    """

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ()


def read_server(name: str, given: Any) -> McpServer:
    """Return the server of an entry of ``mcp_servers``. Raises ValueError that names the fault."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: letters, digits, - and _ are allowed")
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} is not a dict")
    if unknown := {*given} - {*_TEXTS, *_LISTS, *_MAPPINGS}:
        raise ValueError(f"{name} has unknown keys: {', '.join(sorted(map(str, unknown)))}")
    if bool(given.get("command")) == bool(given.get("url")):
        raise ValueError(f"{name} needs either a command or a url")
    fields: dict[str, Any] = {}
    for key, value in given.items():
        if key in _LISTS:
            _require(isinstance(value, list | tuple) and _all_texts(value), name, key, "a list")
            fields[key] = tuple(value)
        elif key in _MAPPINGS:
            texts = isinstance(value, Mapping) and _all_texts([*value, *value.values()])
            _require(texts, name, key, "a dict")
            fields[key] = dict(value)
        else:
            _require(isinstance(value, str), name, key, "a text")
            fields[key] = value
    if fields.get("url") and not re.match(r"https?://", fields["url"]):
        raise ValueError(f"{name}: the url must begin with http:// or https://")
    return McpServer(name, **fields)


def _all_texts(values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _require(fulfilled: bool, name: str, key: str, kind: str) -> None:
    if not fulfilled:
        of = "" if kind == "a text" else " of texts"
        raise ValueError(f"{name}: {key} must be {kind}{of}")


class McpSettings(LoggingConfigurable):
    """The settings of MCP servers and their bounds."""

    mcp_servers = Dict(
        help="""Give the agent in JupyterLab and %%chat --tools mcp:NAME the tools of these MCP
        servers: {"files": {"command": "mcp-server-files", "args": ["/data"], "env": {}, "cwd": "",
        "tools": ["read_file"]}, "wiki": {"url": "https://wiki.example.org/mcp", "headers": {},
        "tools": ["search"]}}. Only the tools that are listed by name may be called. A command
        starts when its tools are first needed, inherits no tokens of this server's environment, and
        ends with this server. Needs the extra "mcp".""",
    ).tag(config=True)
    mcp_shared = Bool(
        False,
        help="""Let the users of a shared server use the MCP servers, too. Their commands run as
        the user of this server, and all users reach the same process.""",
    ).tag(config=True)
    mcp_start_seconds = Float(
        30.0,
        min=0.1,
        help="""Seconds that an MCP server may take to start and to list its tools. Servers that
        are downloaded when they start (npx, uvx) need some.""",
    ).tag(config=True)
    mcp_call_seconds = Float(
        60.0,
        min=0.1,
        help="""Seconds that a call of a tool of an MCP server may take. A server that exceeds them
        is stopped, and started again for the next call.""",
    ).tag(config=True)
    mcp_max_result = Int(
        65_536,
        min=256,
        help="""Characters of the result of a tool of an MCP server; more are cut, with a note. A
        context of 32,768 tokens holds about twice as many.""",
    ).tag(config=True)
    mcp_concurrent = Int(
        8,
        min=1,
        help="""Calls of an MCP server that may be under way, further ones get 429: a model that
        works by tools makes one at a time.""",
    ).tag(config=True)

    @validates("mcp_servers")
    def _readable_servers(self, proposal: dict[str, Any]) -> dict[str, Any]:
        servers: dict[str, Any] = proposal["value"]
        try:
            for name, given in servers.items():
                read_server(name, given)
        except ValueError as error:
            raise TraitError(f"mcp_servers: {error}") from None
        return servers
