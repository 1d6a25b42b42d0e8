"""JSON and TypeScript as Go templates print them."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.go_values import go_json, go_message, go_tools, typescript_type
from jupyter_ollama.prompt.messages import Message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (12345678901234567890, "12345678901234567890"),
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1.5e-5, "0.000015"),
        (1e-7, "1e-7"),
        (1.25e-10, "1.25e-10"),
        (1.2345678901234567e20, "123456789012345670000"),
        (1e21, "1e+21"),
        ('"\\\n\x01é\u2028<>&', '"\\"\\\\\\n\\u0001é\\u2028\\u003c\\u003e\\u0026"'),
        ({"b": [1], "a": {}, "Z": ""}, '{"Z":"","a":{},"b":[1]}'),
    ],
)
def test_go_json(value: Any, text: str) -> None:
    assert go_json(value) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_values_that_go_json_cannot_write(value: Any) -> None:
    with pytest.raises(TemplateError):
        go_json([value])


def test_a_message_has_the_fields_of_the_struct() -> None:
    assert go_json(go_message(Message(role="user", content="x"))) == (
        '{"Role":"user","Content":"x","Thinking":"","Images":[],"ToolCalls":[],'
        '"ToolName":"","ToolCallID":""}'
    )


def test_a_tool_of_the_wrong_shape_has_zero_values() -> None:
    tool = {"type": 1, "function": {"name": "f", "parameters": {"properties": [], "items": {}}}}
    assert go_json(go_tools([tool])) == (
        '[{"type":"","function":{"name":"f","description":"",'
        '"parameters":{"type":"","items":{},"properties":{}}}}]'
    )


def test_nested_properties_keep_their_order() -> None:
    inner = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "integer"}}}
    tool = {"function": {"parameters": {"properties": {"o": inner, "b": {}}}}}
    assert go_json(go_tools([tool])).endswith(
        '"properties":{"b":{},"o":{"type":"object",'
        '"properties":{"z":{"type":"string"},"a":{"type":"integer"}}}}}}}]'
    )


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ({"type": "string"}, "string"),
        ({"type": "integer"}, "number"),
        ({"type": ["boolean", "null"]}, "boolean | null"),
        ({"type": "array", "items": {"type": "string"}}, "any[]"),
        ({"type": "object"}, "Record<string, any>"),
        ({"anyOf": [{"type": "number"}, {"type": "other"}]}, "number | any"),
        ({}, "any"),
    ],
)
def test_typescript(schema: dict[str, Any], name: str) -> None:
    tools = go_tools([{"function": {"parameters": {"properties": {"p": schema}}}}])
    parameters = tools[0].values["Function"].values["Parameters"]
    assert typescript_type(parameters.values["Properties"]["p"]) == name


def test_typescript_of_something_else() -> None:
    assert typescript_type("string") == "any"
