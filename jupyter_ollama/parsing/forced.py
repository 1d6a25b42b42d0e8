"""Answers that a constraint made a list of tool calls in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..prompt.messages import ToolCall, ToolCallFunction
from .answer import call_id
from .parsed import Parsed, Parser


class ForcedCall(msgspec.Struct):
    """An element of the list."""

    name: str
    arguments: dict[str, Any]


def calls_schema(
    tools: Sequence[Mapping[str, Any]], name: str | None = None, *, parallel: bool = True
) -> dict[str, Any]:
    """Return the JSON schema of a list of at least one call of ``tools``, or of ``name`` alone."""
    functions = [tool.get("function") or {} for tool in tools]
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": function.get("name", "")},
                "arguments": function.get("parameters") or {"type": "object"},
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for function in functions
        if name is None or function.get("name") == name
    ]
    most = {} if parallel and name is None else {"maxItems": 1}
    return {"type": "array", "minItems": 1, **most, "items": {"anyOf": calls}}


class ForcedCalls:
    """Parses one answer. What ``thoughts`` calls content is the list."""

    def __init__(self, thoughts: Parser) -> None:
        self._thoughts = thoughts
        self._list: list[str] = []

    @property
    def thinking(self) -> bool:
        """Whether the list has not begun."""
        return self._thoughts.thinking

    def feed(self, text: str) -> Parsed:
        """Take the next text of the model."""
        return self._without_content(self._thoughts.feed(text))

    def finish(self) -> Parsed:
        """Give the calls; if the end cut off the very first, it is content."""
        parsed = self._without_content(self._thoughts.finish())
        text = "".join(self._list)
        calls = [_tool_call(index, call) for index, call in enumerate(_elements(text))]
        return Parsed("" if calls else text, parsed.thinking, calls)

    def _without_content(self, parsed: Parsed) -> Parsed:
        self._list.append(parsed.content)
        return Parsed(thinking=parsed.thinking)


def _elements(text: str) -> Iterator[ForcedCall]:
    """Yield the calls of a list, those before the place where it is cut off."""
    decoder = json.JSONDecoder()
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
            yield msgspec.convert(value, ForcedCall)
        except (json.JSONDecodeError, msgspec.ValidationError):
            return
        at = text.find("{", end)


def _tool_call(index: int, call: ForcedCall) -> ToolCall:
    return ToolCall(ToolCallFunction(call.name, call.arguments, index), id=call_id())
