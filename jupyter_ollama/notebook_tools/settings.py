"""The settings of the tools that Jupyter's MCP server gives to other programs."""

from __future__ import annotations

from typing import Any

from traitlets import Float, Int, List, TraitError, Unicode
from traitlets import validate as validates
from traitlets.config import LoggingConfigurable

NAMES = (
    "list_files",
    "read_file",
    "read_notebook",
    "read_cell",
    "inspect_variable",
    "add_cell",
    "edit_cell",
    "delete_cell",
    "run_cell",
    "list_models",
)
"""The tools. run_cell runs code in a kernel; those before it change nothing or notebooks."""


class NotebookToolSettings(LoggingConfigurable):
    """The settings of the tools for notebooks, and their bounds."""

    notebook_tools = List(
        Unicode(),
        help="""Give these tools to Jupyter's MCP server (the package jupyter-server-mcp), for
        programs such as Claude Code: any of """
        + ", ".join(NAMES)
        + """. That server asks for no token: each process on this host that reaches its port can
        call them, and with run_cell run code as the user of this server.""",
    ).tag(config=True)
    notebook_tool_max_text = Int(
        20_000,
        min=500,
        help="""Characters that such a tool returns, of sources and outputs together; more are cut,
        with a note.""",
    ).tag(config=True)
    notebook_tool_seconds = Float(
        120.0,
        min=0.1,
        help="Seconds that run_cell lets a cell run. Then the kernel is interrupted.",
    ).tag(config=True)

    @validates("notebook_tools")
    def _known_tools(self, proposal: dict[str, Any]) -> list[str]:
        tools: list[str] = proposal["value"]
        if unknown := [name for name in tools if name not in NAMES]:
            raise TraitError(f"notebook_tools: there is no {', '.join(unknown)}")
        return tools
