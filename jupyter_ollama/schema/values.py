"""Schemas that list their values."""

from __future__ import annotations

import json
from typing import Any

from .document import Document
from .keywords import Schema


def finite_values(schema: Schema, document: Document) -> list[Any] | None:
    """Return the values that a schema lists, None if it does not list them. Raises SchemaError."""
    schema = document.resolved(schema)
    if schema is False:
        return []
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    if schema.get("type") == "boolean":
        return [True, False]
    if schema.get("type") == "null":
        return [None]
    branches = schema.get("anyOf", schema.get("oneOf"))
    if isinstance(branches, list) and branches:
        listed = [finite_values(branch, document) for branch in branches]
        if all(values is not None for values in listed):
            return [value for values in listed for value in values or []]
    return None


def without(values: list[Any], others: list[Any]) -> list[Any]:
    """Return the values that are not among others."""
    left_out = {_key(value) for value in others}
    return [value for value in values if _key(value) not in left_out]


def common(values: list[Any], others: list[Any]) -> list[Any]:
    """Return the values that are also among others."""
    kept = {_key(value) for value in others}
    return [value for value in values if _key(value) in kept]


def without_types(others: Any) -> list[str]:
    """Return the types of JSON except the named ones (one or a list)."""
    names = others if isinstance(others, list) else [others]
    left_out = {"number" if name == "integer" else name for name in names}
    kinds = ["object", "array", "string", "number", "boolean", "null"]
    return [kind for kind in kinds if kind not in left_out]


def _key(value: Any) -> str:
    """Return a key that is equal for equal JSON values: True is not 1, 1.0 is."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True)
