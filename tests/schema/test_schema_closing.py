"""Schemas as they are compiled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jupyter_ollama.schema.closing import closed

NULL = {"type": "null"}


def flat(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    """Return a closed object."""
    found = {"type": "object", "properties": properties, "additionalProperties": False} | more
    return found | {"required": list(required)} if required else found


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object"}, {"type": "object"}),
        ({"type": "object", "properties": {}}, flat({})),
        ({"properties": {"a": True}}, flat({"a": True})),
        ({"type": "object", "properties": {"a": NULL}, "additionalProperties": True},
         {"type": "object", "properties": {"a": NULL}}),
        ({"type": "object", "properties": {"properties": {"type": "object"}}},
         flat({"properties": {"type": "object"}})),
        ({"const": {"properties": {"allOf": 1}}}, {"const": {"properties": {"allOf": 1}}}),
        ({"enum": [{"$ref": "#"}]}, {"enum": [{"$ref": "#"}]}),
        ({"title": "T", "x-unknown": [1], "deprecated": True}, {}),
        ({"allOf": [{"type": "integer"}, {"minimum": 1}, {"minimum": 3, "maximum": 5}]},
         {"type": "integer", "minimum": 3, "maximum": 5}),
        ({"allOf": [{"type": ["string", "null"]}, {"type": ["null", "integer"]}]}, NULL),
        ({"allOf": [{"enum": [1, 2, 3]}, {"enum": [3, 2]}, {"not": {"const": 2}}]}, {"enum": [3]}),
        ({"allOf": [{"pattern": "a", "type": "string"}, {"pattern": "b"}]},
         {"pattern": "a", "type": "string", "allOf": [{"pattern": "b"}]}),
        ({"allOf": [{"properties": {"a": NULL}, "required": ["a"]}, {"properties": {"b": NULL}}]},
         flat({"a": NULL, "b": NULL}, "a")),
        ({"properties": {"a": NULL}, "anyOf": [{"required": ["a"]}, {"properties": {"b": NULL}}]},
         {"anyOf": [flat({"a": NULL}, "a"), flat({"a": NULL, "b": NULL})]}),
        ({"anyOf": [{"properties": {"a": NULL}}, {"type": "string"}], "required": ["a"]},
         {"anyOf": [flat({"a": NULL}, "a"), {"type": "string"}]}),
        ({"items": [NULL, {"properties": {"a": NULL}}], "additionalItems": False},
         {"type": "array", "prefixItems": [NULL, flat({"a": NULL})], "items": False}),
        ({"$ref": "#/$defs/A", "description": "d", "$defs": {"A": {"properties": {"a": NULL}}}},
         {"$defs": {"0": flat({"a": NULL})}, "$ref": "#/$defs/0"}),
        ({"$ref": "#/$defs/A", "properties": {"b": NULL}, "$defs": {"A": flat({"a": NULL}, "a")}},
         flat({"a": NULL, "b": False}, "a")),
        ({"type": "object", "propertyNames": {"enum": ["a"]}, "additionalProperties": NULL},
         flat({"a": NULL})),
        ({"type": "object", "propertyNames": {"pattern": "^a"}, "additionalProperties": NULL},
         {"type": "object", "patternProperties": {"^a": NULL}, "additionalProperties": False}),
        ({"dependentRequired": {"a": ["b"]}, "properties": {"a": NULL, "b": NULL}},
         {"anyOf": [flat({"a": False, "b": NULL}), flat({"a": NULL, "b": NULL}, "a", "b")]}),
        ({"type": "string", "format": "date-time"},
         {"type": "string", "format": "date-time", "maxLength": 35}),
    ],
)  # fmt: skip
def test_schemas_are_closed(schema: Any, expected: Any) -> None:
    found = closed(schema)
    assert found == expected


def test_properties_are_answered_in_the_order_of_the_schema() -> None:
    schema = {
        "allOf": [{"properties": {"b": NULL}}],
        "properties": {"c": NULL},
        "anyOf": [{"properties": {"a": NULL}}],
    }
    assert list(closed(schema)["properties"]) == ["b", "c", "a"]


def test_a_schema_grows_no_more_than_it_has_parts() -> None:
    shared = {f"D{n}": {"type": "object", "properties": {"a": NULL}} for n in range(50)}
    schema = {
        "anyOf": [{"$ref": f"#/$defs/D{n % 50}"} for n in range(400)],
        "$defs": shared,
    }
    assert len(json.dumps(closed(schema))) < 20_000
