"""Arguments that formats write as bare text get the types of their schemas."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jupyter_ollama.parsing.tools import Tools

NULLABLE = {"type": ["string", "null"]}
CASES: list[tuple[Any, str, Any]] = [
    ({"type": "string"}, "1", "1"),
    ({"type": "string"}, "null", "null"),
    ({"type": "string"}, '{"a": 1}', '{"a": 1}'),
    ({"type": "string"}, " a\n", " a\n"),
    ({"type": "integer"}, "42", 42),
    ({"type": "integer"}, " -7 ", -7),
    ({"type": "integer"}, "3.0", 3),
    ({"type": "integer"}, "3.5", "3.5"),
    ({"type": "integer"}, "many", "many"),
    ({"type": "integer"}, "9" * 400, "9" * 400),
    ({"type": "integer"}, "1" + "0" * 30, 1e30),
    ({"type": "number"}, "42", 42),
    ({"type": "number"}, "2.50", 2.5),
    ({"type": "number"}, "1e20", 1e20),
    ({"type": "number"}, "nan", "nan"),
    ({"type": "boolean"}, "true", True),
    ({"type": "boolean"}, "False", False),
    ({"type": "boolean"}, "yes", "yes"),
    (NULLABLE, "null", None),
    (NULLABLE, "None", None),
    (NULLABLE, "nothing", "nothing"),
    ({"type": "array"}, '["a", 1]', ["a", 1]),
    ({"type": "array"}, "['a', True, None]", ["a", True, None]),
    ({"type": "array"}, '{"a": 1}', '{"a": 1}'),
    ({"type": "object"}, '{"a": [1]}', {"a": [1]}),
    ({"type": "object"}, "{'a': -1}", {"a": -1}),
    ({"type": "object"}, "__import__('os')", "__import__('os')"),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "5", 5),
    ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "five", "five"),
    ({"oneOf": [{"type": "boolean"}, {"type": "string"}]}, "true", True),
    ({"enum": [1, 2]}, "2", 2),
    ({"enum": ["1", "2"]}, "2", "2"),
    ({"const": False}, "false", False),
    ({"$ref": "#/$defs/size"}, "4", 4),
    ({"$ref": "#/$defs/loop"}, "4", 4),
    ({}, "4", 4),
    ({}, "four", "four"),
    ({"type": None, "anyOf": 1, "enum": []}, "4", 4),
    ({"type": [1, "integer"], "oneOf": [None]}, "4", 4),
    (None, "[1]", [1]),
    (None, "02139", "02139"),
]


@pytest.mark.parametrize(("schema", "text", "value"), CASES)
def test_typed_arguments(schema: Any, text: str, value: Any) -> None:
    defs = {"size": {"type": "integer"}, "loop": {"$ref": "#/$defs/loop"}}
    properties = {} if schema is None else {"x": schema}
    parameters = {"properties": properties, "$defs": defs}
    tools = Tools([{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    typed = tools.typed("f", "x", text)
    assert typed == value
    assert type(typed) is type(value)
    msgspec.msgpack.encode(typed)


def test_invalid_tools_are_ignored() -> None:
    tools = Tools([{}, {"function": None}, {"function": {"name": 1}}, {"name": "f"}])
    assert tools.names == ("f",)
    assert tools.typed("f", "x", "1") == 1


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (None, "5", "5"),
        ({}, "[1]", "[1]"),
        ({}, "null", None),
        ({"type": "string"}, "null", "null"),
        ({"type": "integer"}, "null", None),
        ({"type": "integer"}, "5", 5),
        ({"type": "number"}, "5.0", 5),
        ({"type": "number"}, "5.5", 5.5),
        ({"type": "number"}, "1e20", 1e20),
        ({"type": "boolean"}, "TRUE", True),
        ({"type": "boolean"}, "yes", False),
        ({"type": ["boolean", "string"]}, "yes", "yes"),
        ({"type": "array"}, "[1, null]", [1, None]),
    ],
)
def test_arguments_that_have_only_the_types_their_schemas_declare(
    schema: Any, text: str, value: Any
) -> None:
    properties = {} if schema is None else {"x": schema}
    parameters = {"properties": properties, "required": ["x", 1]}
    tools = Tools([{"type": "function", "function": {"name": "f", "parameters": parameters}}])
    declared = tools.declared("f", "x", text)
    assert declared == value
    assert type(declared) is type(value)
    assert tools.required("f") == {"x"}
    assert tools.required("g") == set()
