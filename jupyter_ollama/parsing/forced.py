"""Answers that a constraint forced to be a list of tool calls in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..prompt.messages import ToolCall, ToolCallFunction
from ..schema.document import Document
from .answer import call_id
from .parsed import Parsed, Parser

_COMBINING = frozenset({"$ref", "allOf", "anyOf", "const", "enum", "if", "oneOf"})
_DESCRIBING = _COMBINING | {
    "additionalProperties", "patternProperties", "properties", "unevaluatedProperties",
}  # fmt: skip
"""Keywords that indicate a function with parameters."""


class ForcedCall(msgspec.Struct):
    """An element of the list."""

    name: str
    arguments: dict[str, Any]


def calls_schema(
    tools: Sequence[Mapping[str, Any]], name: str | None = None, *, parallel: bool = True
) -> dict[str, Any]:
    """Return the JSON schema of a list of at least one call of ``tools``, or of ``name`` alone."""
    functions = [tool.get("function") or {} for tool in tools]
    chosen = [one for one in functions if name is None or one.get("name") == name]
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": function.get("name", "")},
                "arguments": {"$ref": f"#/$defs/{index}"},
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for index, function in enumerate(chosen)
    ]
    most = {} if parallel and name is None else {"maxItems": 1}
    return {
        # Pointers from the root of the parameters are rewritten for their new place.
        "$defs": {
            str(index): Document(_parameters(function)).moved(("$defs", str(index)))
            for index, function in enumerate(chosen)
        },
        "type": "array",
        "minItems": 1,
        **most,
        "items": {"anyOf": calls},
    }


def _parameters(function: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a function's arguments, an object. It is ``{}`` without parameters."""
    given = function.get("parameters")
    schema = dict(given) if isinstance(given, dict) else {}
    if not _DESCRIBING & schema.keys():
        schema["properties"] = {}
    if not schema.get("type") and not _COMBINING & schema.keys():
        schema["type"] = "object"
    return schema


class ForcedCalls:
    """Parses one answer. The list is the content that ``thoughts`` returns."""

    def __init__(self, thoughts: Parser) -> None:
        self._thoughts = thoughts
        self._list: list[str] = []

    @property
    def thinking(self) -> bool:
        """Whether the list has not begun yet."""
        return self._thoughts.thinking

    @property
    def closing(self) -> str:
        """The text that ends the thinking under way and begins the list; "" without thinking."""
        return self._thoughts.closing

    def feed(self, text: str) -> Parsed:
        """Feed the next text of the model."""
        return self._without_content(self._thoughts.feed(text))

    def finish(self) -> Parsed:
        """Return the calls; an incomplete first call is content."""
        parsed = self._without_content(self._thoughts.finish())
        text = "".join(self._list)
        calls = [_tool_call(index, call) for index, call in enumerate(_elements(text))]
        return Parsed("" if calls else text, parsed.thinking, calls)

    def _without_content(self, parsed: Parsed) -> Parsed:
        self._list.append(parsed.content)
        return Parsed(thinking=parsed.thinking)


def _elements(text: str) -> Iterator[ForcedCall]:
    """Yield the complete calls of a list that may be cut off."""
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
