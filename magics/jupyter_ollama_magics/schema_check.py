"""Validation of JSON schemas, before a request is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from .failures import OllamaMagicsError

TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")

_NAMED_PARTS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTED_PARTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_PARTS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise OllamaMagicsError with the path of the first mistake in a JSON schema."""
    try:
        json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise OllamaMagicsError(f"The schema is not JSON: {error}.") from None
    for mistake in _mistakes(schema, schema, ""):
        raise OllamaMagicsError(f"The schema is wrong: {mistake}.")


def pointed(schema: Mapping[str, Any], pointer: str) -> Any:
    """Return the part of a schema at a JSON pointer. Raises LookupError."""
    path, *rest = pointer.split("/")
    if path != "#":
        raise LookupError(pointer)
    part: Any = schema
    for step in rest:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(part, list) and not name.isdigit():
            raise LookupError(pointer)
        part = part[int(name)] if isinstance(part, list) else part[name]
    if not isinstance(part, Mapping | bool):
        raise LookupError(pointer)
    return part


def _mistakes(part: Any, schema: Mapping[str, Any], place: str) -> Iterator[str]:
    if isinstance(part, bool):
        return
    where = place or "the whole"
    if not isinstance(part, Mapping):
        yield f"{where} is {part!r:.40}, not an object"
        return
    yield from _wrong_values(part, schema, where)
    for keyword in _NAMED_PARTS:
        named = part.get(keyword, {})
        if not isinstance(named, Mapping):
            yield f"{_step(place, keyword)} is not an object"
            continue
        for name, member in named.items():
            yield from _mistakes(member, schema, _step(_step(place, keyword), name))
    for keyword in _LISTED_PARTS:
        members = part.get(keyword, [])
        if not isinstance(members, list) or (keyword in part and not members):
            yield f"{_step(place, keyword)} is not a list of schemas"
            continue
        for number, member in enumerate(members):
            yield from _mistakes(member, schema, _step(_step(place, keyword), str(number)))
    for keyword in _PARTS:
        members = part.get(keyword, True)
        for member in members if keyword == "items" and isinstance(members, list) else [members]:
            yield from _mistakes(member, schema, _step(place, keyword))


def _wrong_values(part: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
    declared = part.get("type", "string")
    types = declared if isinstance(declared, list) and declared else [declared]
    for one in types:
        if one not in TYPES:
            yield f"{where} has the type {one!r}, which is not one of {', '.join(TYPES)}"
    if "enum" in part and not (isinstance(part["enum"], list) and part["enum"]):
        yield f"{where} has an enum that is not a list of values"
    required = part.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        yield f"{where} has a required that is not a list of names"
    if "$ref" in part:
        try:
            pointed(schema, part["$ref"])
        except (LookupError, TypeError, AttributeError):
            yield f"{where} refers to {part['$ref']}, which it does not define"


def _step(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
