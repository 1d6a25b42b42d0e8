"""The Jupyter server that the tools work on. There is one in a process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

    from .settings import NotebookToolSettings


class ToolError(Exception):
    """Why a tool cannot do what it is asked; the text goes to the model."""


@dataclass
class Access:
    """A Jupyter server, and the settings of the tools. ``models`` lists the server's models."""

    serverapp: ServerApp
    settings: NotebookToolSettings
    models: Any

    def require(self, name: str) -> None:
        """Raise ToolError unless the settings allow a tool."""
        if name not in self.settings.notebook_tools:
            raise ToolError(f"{name} is not allowed: see OllamaServer.notebook_tools")

    def cut(self, text: str, most: int = 0) -> str:
        """Return the beginning of a text, with a note where it was cut."""
        most = most or self.settings.notebook_tool_max_text
        return text if len(text) <= most else f"{text[:most]}\n… (cut: {most} of {len(text)})"


_current: list[Access] = []


def install(access: Access) -> None:
    """Let the tools work on a server; it replaces the one before."""
    _current[:] = [access]


def current() -> Access:
    """Return the server that the tools work on. Raises ToolError without one."""
    if not _current:
        raise ToolError("the extension jupyter_ollama is not enabled in this Jupyter server")
    return _current[0]
