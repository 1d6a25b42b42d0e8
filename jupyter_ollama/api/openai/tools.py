"""Tools and the choice among them, and the calls that a model made."""

from __future__ import annotations

from typing import Any

from ...errors import OllamaError
from ..translation import arguments_text, new_id, optional, typed

Tools = list[dict[str, Any]]

_BAD_CHOICE = "tool_choice must be none, auto, required, or name functions"


def choose_tools(tools: Tools, choice: Any) -> tuple[Tools, Any]:
    """Return the tools to offer, and those of them that the model must call.

    That is None where it may choose, "required" for any, {"type": "function", "function": {"name"}}
    for one. Where none may be called none is offered. Raises OllamaError(400).
    """
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        # In /v1/responses the fields stand one level higher.
        allowed = optional(choice, "allowed_tools", dict, _BAD_CHOICE) or choice
        names = {_name(tool) for tool in optional(allowed, "tools", list, _BAD_CHOICE)}
        tools = [tool for tool in tools if _name(tool) in names]
        choice = allowed.get("mode")
    if choice == "none":
        return [], None
    if choice in (None, "", "auto"):
        return tools, None
    if choice == "required":
        if not tools:
            raise OllamaError(400, "tool_choice needs tools")
        return tools, choice
    if isinstance(choice, dict) and choice.get("type") == "function":
        name = _name(choice)
        if name not in map(_name, tools):
            raise OllamaError(400, f'tool_choice names the tool "{name}", which is not among tools')
        return tools, {"type": "function", "function": {"name": name}}
    raise OllamaError(400, _BAD_CHOICE)


def _name(tool: Any) -> str:
    tool = typed(tool, dict, _BAD_CHOICE)
    function = tool.get("function")
    return str((function if isinstance(function, dict) else tool).get("name", ""))


def tool_calls(calls: list[dict[str, Any]], first: int = 0) -> list[dict[str, Any]]:
    """Return a model's calls as OpenAI has them, counted from ``first``."""
    return [
        {
            "id": call.get("id") or new_id("call_"),
            "index": index,
            "type": "function",
            "function": {"name": call["function"]["name"], "arguments": arguments_text(call)},
        }
        for index, call in enumerate(calls, first)
    ]
