"""What a model may call as tools: Python functions of the user, and tools of MCP servers."""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from . import schema
from .failures import OllamaMagicsError

_SECTION = re.compile(
    r"^\s*(?:(?:args|arguments|parameters|returns?|raises|yields|examples?|notes?)\s*:?\s*$|:\w)",
    re.I | re.M,
)


@dataclass
class ToolCall:
    """A call requested by a model, and its outcome."""

    name: str
    arguments: dict[str, Any]
    id: str = ""
    outcome: str = ""

    def __str__(self) -> str:
        # An invented name must not disguise the call in the question to the user.
        given = [
            f"{name if name.isidentifier() else repr(name)}={value!r}"
            for name, value in self.arguments.items()
        ]
        return f"{self.name}({', '.join(given)})"


class Tool(Protocol):
    """Something that a model may call.

    ``name`` is what the model calls it, ``policy_name`` what OllamaMagics.tool_policy does.
    ``origin`` goes into the question to the user: "" or " of the MCP server x".
    """

    name: str
    policy_name: str
    origin: str

    def definition(self) -> dict[str, Any]:
        """Return name, description and parameters in the form of ``/api/chat``."""

    def fault(self, arguments: Mapping[str, Any]) -> str:
        """Return why it cannot be called with these arguments, "" if it can."""

    def run(self, arguments: Mapping[str, Any]) -> str:
        """Run a call and return its result; the model gets the text of an exception, too."""


class FunctionTool:
    """A Python function of the user."""

    origin = ""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.name = self.policy_name = _name(function)

    def definition(self) -> dict[str, Any]:
        """Return name, description and parameters, from signature and docstring."""
        return definition(self.name, self._function)

    def fault(self, arguments: Mapping[str, Any]) -> str:
        """Return why the signature does not take these arguments."""
        try:
            inspect.signature(self._function).bind(**arguments)
        except TypeError as error:
            return str(error)
        return ""

    def run(self, arguments: Mapping[str, Any]) -> str:
        """Call the function with values of the types of its hints."""
        return _text(self._function(**_built(self._function, arguments)))


class Tools:
    """The tools that a model may call, and the policy that allows calls.

    ``policy`` is "ask" (``confirm`` puts a question to the user before each call), "never", or a
    list of the names that may run unasked. A function among ``tools`` is a `FunctionTool`.
    """

    def __init__(
        self,
        tools: Iterable[Callable[..., Any] | Tool],
        policy: str | list[str],
        confirm: Callable[[str], str],
    ) -> None:
        self._tools: dict[str, Tool] = {}
        self._policy = policy
        self._confirm = confirm
        for given in tools:
            is_tool = hasattr(given, "policy_name")
            tool = cast(Tool, given) if is_tool else FunctionTool(cast(Callable[..., Any], given))
            if tool.name in self._tools:
                raise OllamaMagicsError(f"--tools has two functions named {tool.name}.")
            self._tools[tool.name] = tool
            self._check(tool.policy_name)

    def _check(self, name: str) -> None:
        if self._policy == "never":
            raise OllamaMagicsError("Tools are switched off by OllamaMagics.tool_policy.")
        if self._policy != "ask" and name not in self._policy:
            raise OllamaMagicsError(
                f"{name} is not among the tools that OllamaMagics.tool_policy allows."
            )

    def definitions(self) -> list[dict[str, Any]]:
        """Return the tools in the form of ``/api/chat``."""
        return [
            {"type": "function", "function": tool.definition()} for tool in self._tools.values()
        ]

    def run(self, call: ToolCall) -> None:
        """Run a call if it is allowed, and record its result or error."""
        tool = self._tools.get(call.name)
        if tool is None:
            names = ", ".join(self._tools)
            call.outcome = f"Error: there is no function {call.name}. There are: {names}."
            return
        if fault := tool.fault(call.arguments):
            call.outcome = f"Error: {call.name} {fault}."
            return
        if self._policy == "ask" and not self._confirmed(call, tool):
            call.outcome = "Error: the user did not allow this call."
            return
        try:
            call.outcome = tool.run(call.arguments)
        except Exception as error:  # the model gets the error and may correct the call
            call.outcome = f"Error: {type(error).__name__}: {error}"

    def _confirmed(self, call: ToolCall, tool: Tool) -> bool:
        from IPython.core.error import StdinNotImplementedError

        try:
            reply = self._confirm(f"The model wants to run {call}{tool.origin}. Run it? [y/N] ")
        except (StdinNotImplementedError, EOFError) as error:
            raise OllamaMagicsError(
                f"This front end cannot ask whether {call.name} may run. Allow it: "
                f"%config OllamaMagics.tool_policy = [{tool.policy_name!r}]"
            ) from error
        return reply.strip().lower() in ("y", "yes")


def definition(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Return name, description and parameters of a function, from signature and docstring."""
    text = inspect.getdoc(function) or ""
    head = _SECTION.split(text, maxsplit=1)[0].strip()
    hints, required = _parameters(function)
    parameters = schema.object_schema(hints, required)
    for parameter, field in parameters["properties"].items():
        if description := _description(text, parameter):
            field.setdefault("description", description)
    return {"name": name, "description": head, "parameters": parameters}


def _name(function: Any) -> str:
    if not callable(function) or isinstance(function, type):
        raise OllamaMagicsError(f"--tools takes functions, not {type(function).__name__}.")
    if inspect.iscoroutinefunction(function):
        raise OllamaMagicsError("--tools takes functions that are not async.")
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise OllamaMagicsError("--tools takes functions with names, not lambdas.")
    return str(name)


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, Any], list[str]]:
    hints = _hints(function)
    taken = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise OllamaMagicsError(
                f"{getattr(function, '__name__', function)} takes {name} by position only; "
                "models give arguments by name."
            )
        taken[name] = hints.get(name, Any)
        if parameter.default is parameter.empty:
            required.append(name)
    return taken, required


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return {}


def _description(doc: str, name: str) -> str:
    """Return the description of a parameter in a docstring of Google, NumPy or Sphinx style."""
    parameter = re.escape(name)
    styles = (
        rf"^\s*:param\s+(?:[^:\n]+\s)?{parameter}\s*:\s*(?P<text>.+)$",
        rf"^\s+{parameter}\s*(?:\([^)\n]*\))?\s*:\s*(?P<text>.+)$",
        rf"^{parameter}\s*:.*\n[ \t]+(?P<text>.+)$",
    )
    for style in styles:
        if found := re.search(style, doc, re.M):
            return found["text"].strip()
    return ""


def _built(function: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    hints = _hints(function)
    return {name: schema.build(hints.get(name, Any), value) for name, value in arguments.items()}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list | tuple | int | float | bool) or value is None:
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
