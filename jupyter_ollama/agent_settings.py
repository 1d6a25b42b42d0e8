"""The settings of the agent in JupyterLab, which pages enforce."""

from __future__ import annotations

import re
from typing import Any

from traitlets import CaselessStrEnum, Float, Int, List, TraitError, Unicode
from traitlets import validate as validates
from traitlets.config import LoggingConfigurable

AGENT_TOOLS = (
    "read_notebook",
    "read_cell",
    "add_cell",
    "edit_cell",
    "delete_cell",
    "run_cell",
    "inspect_variable",
    "list_files",
    "read_file",
)
"""The tools of the agent; a test compares them with those of the page."""
_MCP = re.compile(r"mcp:[A-Za-z0-9_-]{1,64}(\..+)?")


class AgentSettings(LoggingConfigurable):
    """What models may do in the notebooks of JupyterLab, at most."""

    agent_run_policy = CaselessStrEnum(
        ["ask", "never", "allow"],
        "ask",
        help="""Whether a model that works in a notebook of JupyterLab may run cells: "ask" the user
        before each run, "never", or "allow" all runs. The page of the extension enforces it. It
        binds the model, not the user, who can run the same code.""",
    ).tag(config=True)
    agent_tools = List(
        Unicode(),
        None,
        allow_none=True,
        help=f"""Offer only these tools to a model that works in a notebook, None for all. A mode
        without any is switched off: Edit and Agent by an empty list. The tools:
        {", ".join(AGENT_TOOLS)}, and those that mcp_servers allows: "mcp:SERVER.TOOL", or
        "mcp:SERVER" for all of a server.""",
    ).tag(config=True)
    agent_max_steps = Int(
        100, min=1, help="Let a model call at most this many tools in one task in a notebook."
    ).tag(config=True)
    agent_max_tokens = Int(
        1_000_000,
        min=1,
        help="""Let a model read anew and write at most this many tokens in one task in a
        notebook.""",
    ).tag(config=True)
    agent_max_minutes = Float(
        60.0,
        min=0.01,
        help="""Let a model work at most this many minutes on one task in a notebook. Time in which
        it waits for the user does not count.""",
    ).tag(config=True)

    @validates("agent_tools")
    def _check_tools(self, proposal: Any) -> list[str] | None:
        names: list[str] | None = proposal.value
        for name in names or []:
            if name not in AGENT_TOOLS and not _MCP.fullmatch(name):
                known = ", ".join([*AGENT_TOOLS, "mcp:SERVER", "mcp:SERVER.TOOL"])
                raise TraitError(f"agent_tools: there is no tool {name!r}; there are {known}")
        return names

    def agent_policy(self) -> dict[str, Any]:
        """Return the rules that pages read: run, tools, steps, tokens, minutes."""
        return {
            "run": self.agent_run_policy,
            "tools": self.agent_tools,
            "steps": self.agent_max_steps,
            "tokens": self.agent_max_tokens,
            "minutes": self.agent_max_minutes,
        }
