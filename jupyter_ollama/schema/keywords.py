"""The keywords of JSON Schema, from draft 4 to 2020-12, and a walk that follows them.

Only values of keywords are treated as schemas: a property may be called "allOf" or "items".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Schema = Any
"""A dict, True or False; the compiler refuses any other value."""

OF_ONE = frozenset({
    "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items",
    "not", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
})  # fmt: skip
"""Keywords whose value is a schema."""
OF_LIST = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
"""Keywords whose value is a list of schemas; ``items`` was one until 2019-09."""
OF_MAP = frozenset({
    "$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties",
})  # fmt: skip
"""Keywords whose value maps names to schemas; ``dependencies`` also to lists of names."""
KEYWORDS = OF_ONE | OF_LIST | OF_MAP
LITERAL = frozenset({"const", "default", "enum", "example", "examples"})
"""Keywords whose value is data, even if it looks like a schema."""


def subschemas(schema: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Yield the direct subschemas of a schema, each with its relative path."""
    for key, value in schema.items():
        if isinstance(value, dict) and key in OF_MAP:
            for name, item in value.items():
                if isinstance(item, dict | bool):
                    yield (key, name), item
        elif isinstance(value, dict | bool) and key in OF_ONE:
            yield (key,), value
        elif isinstance(value, list) and key in OF_LIST:
            for index, item in enumerate(value):
                yield (key, str(index)), item


def rebuilt(schema: dict[str, Any], change: Callable[[Schema], Schema]) -> dict[str, Any]:
    """Return a schema with each direct subschema changed."""
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if isinstance(value, dict) and key in OF_MAP:
            result[key] = {
                name: change(item) if isinstance(item, dict | bool) else item
                for name, item in value.items()
            }
        elif isinstance(value, dict | bool) and key in OF_ONE:
            result[key] = change(value)
        elif isinstance(value, list) and key in OF_LIST:
            result[key] = [change(item) for item in value]
        else:
            result[key] = value
    return result
