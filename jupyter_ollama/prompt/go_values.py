"""The view of messages and tools in Go templates, and its printed form.

Templates were written against Go structs, so the values here have the structs' field names, zero
values and texts: lists of tools, arguments and parameters print as JSON, as ``json.Marshal`` writes
it. Only known fields of a tool's schema exist there; others are omitted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import TemplateError
from .json_values import go_number, list_at, text_at
from .messages import Message

GO_ESCAPES = str.maketrans(
    {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}  # json.Marshal keeps JSON safe inside HTML
)

FIELDS: dict[str, tuple[tuple[str, str, bool], ...]] = {
    "Message": tuple(
        (name, name, False)
        for name in ["Role", "Content", "Thinking", "Images", "ToolCalls", "ToolName", "ToolCallID"]
    ),
    "ToolCall": (("ID", "ID", False), ("Function", "Function", False)),
    "ToolCallFunction": tuple((name, name, False) for name in ("Index", "Name", "Arguments")),
    "Tool": (("Type", "type", False), ("Items", "items", True), ("Function", "function", False)),
    "ToolFunction": (
        ("Name", "name", False),
        ("Description", "description", False),
        ("Parameters", "parameters", False),
    ),
    "ToolFunctionParameters": (
        ("Type", "type", False),
        ("Defs", "$defs", True),
        ("Items", "items", True),
        ("Required", "required", True),
        ("Properties", "properties", False),
    ),
    "ToolProperty": (
        ("AnyOf", "anyOf", True),
        ("Type", "type", True),
        ("Items", "items", True),
        ("Description", "description", True),
        ("Enum", "enum", True),
        ("Properties", "properties", True),
        ("Required", "required", True),
    ),
}
"""The structs: (field, its key in JSON, whether JSON omits it when empty), in order."""


class Printable:
    """A value with its own text in a template; others print by Go's rules for their kind."""

    def __str__(self) -> str:
        return go_json(self)


class Struct(Printable):
    """A struct named in FIELDS. A missing field is an error, as in Go."""

    __slots__ = ("kind", "values")

    def __init__(self, kind: str, *values: Any) -> None:
        self.kind = kind
        self.values = {
            field: value for (field, _, _), value in zip(FIELDS[kind], values, strict=True)
        }

    def __gotemplate_lookup__(self, field: str) -> Any:
        if field not in self.values:
            raise TemplateError(f"can't evaluate field {field} in type {self.kind}")
        return self.values[field]


class JSONList(Printable, list[Any]):
    """A slice that prints as JSON."""


class JSONMap(Printable, dict[str, Any]):
    """A map that prints as JSON with sorted keys."""


class OrderedMap(JSONMap):
    """A map that prints as JSON in the order of insertion."""


class TypeNames(Printable, list[str]):
    """The ``type`` of a JSON schema: one name or several."""

    def __str__(self) -> str:
        return self[0] if len(self) == 1 else f"[{' '.join(self)}]" if self else ""


def go_json(value: Any) -> str:
    """Write a value as Go's ``json.Marshal`` does; a wrong type raises TemplateError."""
    if isinstance(value, Struct):
        pairs = (
            (key, value.values[field])
            for field, key, omit_empty in FIELDS[value.kind]
            if not (omit_empty and _is_empty(value.values[field]))
        )
        return "{" + ",".join(f"{go_json(key)}:{go_json(item)}" for key, item in pairs) + "}"
    if isinstance(value, Mapping):
        keys = list(value) if isinstance(value, OrderedMap) else sorted(value)
        return "{" + ",".join(f"{go_json(key)}:{go_json(value[key])}" for key in keys) + "}"
    if isinstance(value, TypeNames) and len(value) == 1:
        return go_json(value[0])
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(go_json, value)) + "]"
    if isinstance(value, float):
        try:
            return go_number(value)
        except ValueError as error:
            raise TemplateError(str(error)) from None
    if value is None or isinstance(value, str | int):
        return json.dumps(value, ensure_ascii=False).translate(GO_ESCAPES)
    raise TemplateError(f"json: unsupported type: {type(value).__name__}")


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list) and not value)


def go_message(message: Message) -> Struct:
    """Return the struct of a message."""
    calls = [
        Struct(
            "ToolCall",
            call.id,
            Struct(
                "ToolCallFunction",
                call.function.index,
                call.function.name,
                JSONMap(call.function.arguments),
            ),
        )
        for call in message.tool_calls
    ]
    return Struct(
        "Message",
        message.role,
        message.content,
        message.thinking,
        list(message.images),
        calls,
        message.tool_name,
        message.tool_call_id,
    )


def go_tools(tools: Sequence[Mapping[str, Any]]) -> JSONList:
    """Return the structs of tool definitions (JSON of a client)."""
    return JSONList(_tool(tool) for tool in tools)


def _tool(tool: Mapping[str, Any]) -> Struct:
    function = _mapping(tool, "function")
    parameters = _mapping(function, "parameters")
    properties = _mapping(parameters, "properties")
    return Struct(
        "Tool",
        text_at(tool, "type"),
        tool.get("items"),
        Struct(
            "ToolFunction",
            text_at(function, "name"),
            text_at(function, "description"),
            Struct(
                "ToolFunctionParameters",
                text_at(parameters, "type"),
                parameters.get("$defs"),
                parameters.get("items"),
                list_at(parameters, "required"),
                JSONMap({name: _property(schema) for name, schema in properties.items()}),
            ),
        ),
    )


def _property(schema: Any) -> Struct:
    schema = schema if isinstance(schema, Mapping) else {}
    names = schema.get("type")
    properties = schema.get("properties")
    return Struct(
        "ToolProperty",
        [_property(choice) for choice in list_at(schema, "anyOf")],
        TypeNames([names] if isinstance(names, str) else map(str, list_at(schema, "type"))),
        schema.get("items"),
        text_at(schema, "description"),
        list_at(schema, "enum"),
        OrderedMap({name: _property(item) for name, item in properties.items()})
        if isinstance(properties, Mapping)
        else None,
        list_at(schema, "required"),
    )


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    item = value.get(key)
    return item if isinstance(item, Mapping) else {}


TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}
"""The TypeScript type of each JSON schema type; ``any`` stands for all others."""


def typescript_type(value: Any) -> str:
    """Name the TypeScript type of a tool's property, ``any`` for other values."""
    if not (isinstance(value, Struct) and value.kind == "ToolProperty"):
        return "any"
    if choices := value.values["AnyOf"]:
        return " | ".join(typescript_type(choice) for choice in choices)
    return " | ".join(TYPESCRIPT.get(name, "any") for name in value.values["Type"]) or "any"
