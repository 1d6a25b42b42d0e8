"""Merging the parts of one alternative into one schema with a closed object."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from .alternatives import Alternative, Part, named_properties, required_names
from .document import Document
from .keywords import Schema
from .values import common, finite_values, without

Conjoin = Callable[[list[Schema]], Schema]
"""Merges schemas that must all hold."""

_OBJECT = frozenset({
    "additionalProperties", "patternProperties", "properties", "propertyNames", "required",
    "unevaluatedProperties",
})  # fmt: skip
_LARGEST = frozenset({
    "exclusiveMinimum", "minContains", "minItems", "minLength", "minProperties", "minimum",
})  # fmt: skip
_SMALLEST = frozenset({
    "exclusiveMaximum", "maxContains", "maxItems", "maxLength", "maxProperties", "maximum",
})  # fmt: skip
_ITEMS = frozenset({"additionalItems", "items", "unevaluatedItems"})
_LISTED = frozenset({"const", "enum"})


class Merger:
    """Merges the parts of the alternatives of one schema.

    ``named`` are the properties that any of them names.
    """

    def __init__(self, document: Document, named: Collection[str], conjoin: Conjoin) -> None:
        self._document = document
        self._named = named
        self._conjoin = conjoin

    def merged(self, parts: Alternative) -> Schema:
        """Return parts without references as one schema; False if they exclude each other.

        Properties that no part names are forbidden, unless a part describes additional properties.
        JSON Schema would allow them; Ollama's grammar does not, and a model that may add them does
        not stop. Names in ``required`` without a possible value are removed, as in Ollama.
        """
        flat = self._values(parts)
        return False if flat is None else self._object(flat, parts)

    def _values(self, parts: Alternative) -> Part | None:
        """Merge the keywords other than those of properties; None if no value remains."""
        flat: Part = {}
        left: list[Part] = []
        for part in parts:
            rest: Part = {}
            for key, value in _with_type(part).items():
                if key in _OBJECT:
                    continue
                if key in _LISTED and _LISTED & flat.keys():
                    values = common(_listed(flat), value if key == "enum" else [value])
                    flat = {name: flat[name] for name in flat if name not in _LISTED}
                    flat["enum"] = values
                elif key not in flat or flat[key] == value:
                    flat[key] = value
                elif key == "type":
                    flat[key] = _common_types(flat[key], value)
                elif key in _ITEMS and _are_schemas(flat[key], value):
                    flat[key] = self._conjoin([flat[key], value])
                elif key in _LARGEST and _are_numbers(flat[key], value):
                    flat[key] = max(flat[key], value)
                elif key in _SMALLEST and _are_numbers(flat[key], value):
                    flat[key] = min(flat[key], value)
                else:
                    rest[key] = value
            if rest:
                left.append(rest)
        denied = [
            value
            for part in parts
            if "not" in part
            for value in finite_values(part["not"], self._document) or []
        ]
        if denied and _LISTED & flat.keys():
            left_over = without(_listed(flat), denied)
            flat = {key: flat[key] for key in flat if key not in {*_LISTED, "not"}}
            flat["enum"] = left_over
        if flat.get("type") == [] or flat.get("enum") == []:
            return None
        if left:
            flat["allOf"] = left
        return flat

    def _object(self, flat: Part, parts: Alternative) -> Schema:
        if "type" in flat and "object" not in _types(flat["type"]):
            return flat
        required = dict.fromkeys(name for part in parts for name in required_names(part))
        named = [*properties_named(parts), *(name for name in required if name in self._named)]
        properties: dict[str, Schema] = {}
        for name in dict.fromkeys(named):
            described = [one for part in parts for one in _property(part, name, name in required)]
            properties[name] = self._together(described)
        patterns = {
            pattern: self._together([
                part["patternProperties"][pattern]
                for part in parts
                if pattern in _patterns(part)
            ])
            for part in parts
            for pattern in _patterns(part)
        }  # fmt: skip
        is_described = any("properties" in part for part in parts)
        others = _others(parts)
        rest = self._together(others) if others else not (is_described and not patterns)
        for part in parts:
            if "propertyNames" in part:
                rest = self._called(part["propertyNames"], flat, properties, patterns, rest)
        if any(properties.get(name) is False for name in required):
            return False
        if is_described and "type" not in flat and not _LISTED & flat.keys():
            flat["type"] = "object"
        if properties or is_described:
            flat["properties"] = properties
        if patterns:
            flat["patternProperties"] = patterns
        if rest is not True:
            flat["additionalProperties"] = rest
        if rest is False and not patterns:
            required = dict.fromkeys(name for name in required if name in properties)
        if required:
            flat["required"] = list(required)
        return flat

    def _called(
        self,
        names: Schema,
        flat: Part,
        properties: dict[str, Schema],
        patterns: dict[str, Schema],
        rest: Schema,
    ) -> Schema:
        """Restrict the names of properties; return the schema of additional properties."""
        allowed = finite_values(names, self._document)
        if allowed is not None:
            for name in properties:
                if name not in allowed:
                    properties[name] = False
            if rest is not False:
                for name in allowed:
                    if isinstance(name, str):
                        properties.setdefault(name, rest)
            return False
        pattern = _pattern(names)
        if pattern is None:
            flat["propertyNames"] = names  # llguidance warns about it
        elif pattern and rest is not False:
            patterns[pattern] = rest
            return False
        return rest

    def _together(self, schemas: list[Schema]) -> Schema:
        """Return one schema for several that must all hold."""
        schemas = [schema for schema in schemas if schema is not True]
        if len(schemas) < 2:
            return schemas[0] if schemas else True
        if any(schema is False for schema in schemas):
            return False
        found = [finite_values(schema, self._document) for schema in schemas]
        listed = [values for values in found if values is not None]
        if len(listed) > 1:
            values = listed[0]
            for more in listed[1:]:
                values = common(values, more)
            if not values:
                return False
            if len(listed) == len(schemas):
                return {"enum": values}
        return self._conjoin(schemas)


def properties_named(parts: Alternative) -> list[str]:
    """Return the names of the properties that parts describe, each once."""
    return list(dict.fromkeys(name for part in parts for name in named_properties(part)))


def _others(parts: Alternative) -> list[Schema]:
    """Return the schemas of parts for properties that they do not name."""
    keys = ("additionalProperties", "unevaluatedProperties")
    found = ([part[key] for part in parts if key in part] for key in keys)
    return next(filter(None, found), [])


def _property(part: Part, name: str, is_required: bool) -> list[Schema]:
    """Return the schemas of a part for a property."""
    if name in named_properties(part):
        # llguidance enforces the patterns beside it.
        return [part["properties"][name]]
    found = [schema for pattern, schema in _patterns(part).items() if _matches(pattern, name)]
    if found or "additionalProperties" not in part:
        return found
    # A property required by one part and forbidden by another is intended: zod closes each part.
    is_meant = part["additionalProperties"] is False and is_required
    return [] if is_meant else [part["additionalProperties"]]


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return False


def _pattern(names: Schema) -> str | None:
    """Return a pattern of names, "" for any name, None if no pattern is equivalent."""
    if not isinstance(names, dict):
        return "" if names is True else None
    says = names.keys() & {"format", "maxLength", "minLength", "pattern", "allOf", "anyOf", "not"}
    if not says:
        return ""
    if says == {"pattern"} and isinstance(names["pattern"], str):
        return names["pattern"]
    if says <= {"maxLength", "minLength"}:
        fewest, most = names.get("minLength", 0), names.get("maxLength", "")
        return rf"^[\s\S]{{{fewest},{most}}}$"
    return None


def _listed(part: Part) -> list[Any]:
    return part["enum"] if "enum" in part else [part["const"]]


def _with_type(part: Part) -> Part:
    """Add the type "array" to a part with keywords about items."""
    if {"type", *_LISTED} & part.keys() or not {"items", "prefixItems"} & part.keys():
        return part
    return {"type": "array", **part}


def _types(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _common_types(one: Any, other: Any) -> Any:
    ones, others = _types(one), _types(other)
    found = [kind for kind in ones if kind in others or (kind == "integer" and "number" in others)]
    if "number" in ones and "integer" in others and "integer" not in found:
        found.append("integer")
    return found[0] if len(found) == 1 else found


def _are_schemas(*values: Any) -> bool:
    return all(isinstance(value, dict | bool) for value in values)


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _patterns(part: Part) -> dict[str, Schema]:
    value = part.get("patternProperties")
    return value if isinstance(value, dict) else {}
