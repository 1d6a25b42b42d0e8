"""The values passed to chat templates: a conversation and its tools, in Hugging Face's form.

Templates were written for several programs, which differ in the representation of missing values
and of the arguments of a call. The types here satisfy each of the tests that templates make.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Undefined

from .messages import Message, ToolCall


class _EqualToNone:
    """Makes a value also equal to none."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return other is None or super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return super().__hash__()


class Absent(_EqualToNone, Undefined):
    """A variable without a value: it is both undefined and none."""

    __slots__ = ()


class NoText(_EqualToNone, str):
    """The content of a message that only calls tools: an empty text that also equals none."""

    __slots__ = ()


class Arguments(dict[str, Any]):
    """The arguments of a call: a mapping whose text is JSON, for templates that expect a text."""

    __slots__ = ()

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False)


class GivenList(list[Any]):
    """A list of the request, which templates must not change."""

    __slots__ = ()


class Functions(GivenList):
    """Tools for the templates that add the JSON of ``functions`` to a text."""

    __slots__ = ()

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False, indent=4)


def is_none(value: object) -> bool:
    """Return whether a value is None or represents it."""
    return value is None or isinstance(value, Absent | NoText)


def given(value: Any) -> Any:
    """Return a copy of a JSON value whose lists templates cannot change."""
    if isinstance(value, Mapping):
        return {key: given(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return GivenList(given(item) for item in value)
    return value


def given_tools(tools: Sequence[Mapping[str, Any]]) -> Any:
    """Return the tools of a request for templates."""
    return given(tools) if tools else Absent(name="tools")


def given_functions(tools: Sequence[Mapping[str, Any]]) -> Any:
    """Return tools for templates without the variable ``tools``; "" if there are none."""
    return Functions(given(tools)) if tools else ""


def given_messages(messages: Sequence[Message], *, in_parts: bool = False) -> list[dict[str, Any]]:
    """Return messages for templates; with ``in_parts`` a text becomes a list of one part."""
    return GivenList(_given_message(message, in_parts=in_parts) for message in messages)


def _given_message(message: Message, *, in_parts: bool) -> dict[str, Any]:
    content: Any = message.content
    if in_parts:
        content = GivenList([{"type": "text", "text": content}])
    elif not content and message.tool_calls:
        content = NoText()
    shown: dict[str, Any] = {"role": message.role, "content": content}
    if message.thinking:
        for name in ("thinking", "reasoning_content", "reasoning"):
            shown[name] = message.thinking
    if message.tool_calls:
        shown["tool_calls"] = GivenList(_given_call(call) for call in message.tool_calls)
    if message.tool_name:
        shown["name"] = shown["tool_name"] = message.tool_name
    if message.tool_call_id:
        shown["tool_call_id"] = message.tool_call_id
    return shown


def _given_call(call: ToolCall) -> dict[str, Any]:
    arguments = Arguments(given(call.function.arguments))
    shown = {"type": "function", "function": {"name": call.function.name, "arguments": arguments}}
    return {"id": call.id, **shown} if call.id else shown
