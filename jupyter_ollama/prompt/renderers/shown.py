"""The messages and tools passed to the template of a built-in renderer.

They are plain data with the names of Ollama's API and the key order of its Go structs: unknown keys
of a tool are dropped, empty ones are omitted where the tag of the struct has ``omitempty``, and
keys of objects inside values of any type are sorted, as Go sorts marshalled maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..json_values import list_at, text_at
from ..messages import Message
from .filters import sorted_maps


def shown_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages for a template; ``images`` become the numbers of their markers."""
    shown = []
    images = 0
    for message in messages:
        numbers = list(range(images, images + len(message.images)))
        images += len(numbers)
        shown.append(_message(message, numbers))
    return shown


def _message(message: Message, images: list[int]) -> dict[str, Any]:
    # The only place where texts of users enter a template.
    return {
        "role": message.role.lower(),
        "content": message.content,
        "thinking": message.thinking,
        "images": images,
        "tool_calls": [
            {
                "id": call.id,
                "name": call.function.name,
                "arguments": {
                    name: sorted_maps(value) for name, value in call.function.arguments.items()
                },
            }
            for call in message.tool_calls
        ],
        "tool_name": message.tool_name,
        "tool_call_id": message.tool_call_id,
    }


def shown_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tool definitions (JSON of a client) for a template."""
    return [_tool(tool) for tool in tools]


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = _mapping(tool, "function") or {}
    parameters = _mapping(function, "parameters") or {}
    return {
        "type": text_at(tool, "type"),
        **_present("items", sorted_maps(tool.get("items"))),
        "function": {
            "name": text_at(function, "name"),
            **_filled("description", text_at(function, "description")),
            "parameters": {
                "type": text_at(parameters, "type"),
                **_present("$defs", sorted_maps(parameters.get("$defs"))),
                **_present("items", sorted_maps(parameters.get("items"))),
                **_filled("required", list_at(parameters, "required")),
                "properties": _properties(parameters),
            },
        },
    }


def _properties(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    properties = _mapping(schema, "properties")
    if properties is None:
        return None
    return {name: _property(schema) for name, schema in properties.items()}


def _property(schema: Any) -> dict[str, Any]:
    schema = schema if isinstance(schema, Mapping) else {}
    return {
        **_filled("anyOf", [_property(choice) for choice in list_at(schema, "anyOf")]),
        **_present("type", _type_names(schema.get("type"))),
        **_present("items", sorted_maps(schema.get("items"))),
        **_filled("description", text_at(schema, "description")),
        **_filled("enum", [sorted_maps(value) for value in list_at(schema, "enum")]),
        **_present("properties", _properties(schema)),
        **_filled("required", list_at(schema, "required")),
    }


def _type_names(value: Any) -> str | list[str] | None:
    """Return a name or a list of names; a list of one becomes a name."""
    names = value if isinstance(value, list) else [value]
    names = [name for name in names if isinstance(name, str)]
    return names[0] if len(names) == 1 else names or None


def _present(key: str, value: Any) -> dict[str, Any]:
    return {} if value is None else {key: value}


def _filled(key: str, value: Any) -> dict[str, Any]:
    return {key: value} if value else {}


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    item = value.get(key)
    return item if isinstance(item, Mapping) else None
