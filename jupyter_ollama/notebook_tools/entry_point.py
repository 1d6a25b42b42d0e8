"""What Jupyter's MCP server finds: the allowed tools, by the names of their functions."""

from __future__ import annotations

from .access import ToolError, current


def tools() -> list[str]:
    """Return the tools that the settings allow, as "module:function"; [] unless some are."""
    try:
        allowed = current().settings.notebook_tools
    except ToolError:
        return []
    return [f"jupyter_ollama.notebook_tools.tools:{name}" for name in dict.fromkeys(allowed)]
