"""The fields of a JSON schema: their types, and the parsing of their values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..schema_check import pointed

MOST_ALTERNATIVES = 256
"""The number of alternatives that are expanded; the fields of others hold any value."""

Part = Mapping[str, Any]

_INTEGER = re.compile(r"[+-]?\d+")
_COMBINED = ("anyOf", "oneOf", "allOf")
_DATE_FORMATS = ("date", "date-time")


@dataclass(frozen=True)
class Field:
    """A property of an object.

    ``kinds`` are its JSON types besides null; an empty set allows any. ``choices`` are the values
    of an enum or constant, or None. ``date_format`` is "date", "date-time" or "".
    """

    name: str
    kinds: frozenset[str] = frozenset()
    choices: tuple[Any, ...] | None = None
    date_format: str = ""

    def parse(self, value: Any) -> Any:
        """Return the value of the column for a JSON value. Raises ValueError.

        Dates become Timestamps. A number in a string becomes a number.
        """
        if value is None:
            return None
        if self.choices is not None:
            return self._choice(value)
        if self.date_format and isinstance(value, str):
            from .date_parser import read_moment

            return read_moment(value)
        if not self.kinds or self.kinds & set(_kinds(value)):
            if isinstance(value, float) and math.isinf(value):
                raise ValueError(f"{self.name} is a number out of range")
            return int(value) if self.kinds == {"integer"} else value
        return self._converted(value)

    def _choice(self, value: Any) -> Any:
        for choice in self.choices or ():
            if json_equal(choice, value):
                return choice
        raise ValueError(f"{self.name} is {_short(value)}, which is not one of its values")

    def _converted(self, value: Any) -> Any:
        text = value.strip() if isinstance(value, str) else ""
        if self.kinds == {"integer"} and _INTEGER.fullmatch(text):
            return int(text)
        if self.kinds == {"number"}:
            try:
                number = float(text)
            except ValueError:
                number = math.nan
            if math.isfinite(number):
                return number
        if self.kinds == {"boolean"} and text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise ValueError(f"{self.name} is {_short(value)}, not {' or '.join(sorted(self.kinds))}")


@dataclass(frozen=True)
class Fields:
    """The properties of the objects that a schema allows, in the order of the schema."""

    fields: tuple[Field, ...]
    required: frozenset[str]

    @classmethod
    def of(cls, schema: Part) -> Fields:
        """Return the fields of a schema with valid references; it may be a union of objects."""
        objects = [one for one in _alternatives(schema, schema) if "properties" in one]
        parts: dict[str, list[Part]] = {}
        for one in objects:
            for name, part in _properties(one):
                parts.setdefault(name, []).append(part)
        needed = [frozenset(one.get("required", ())) for one in objects]
        return cls(
            tuple(_field(name, some, schema) for name, some in parts.items()),
            frozenset.intersection(*needed) if needed else frozenset(),
        )

    def parse(self, answer: Any) -> dict[str, Any]:
        """Return the value of each field of a JSON answer. Raises ValueError."""
        if not isinstance(answer, dict):
            raise ValueError(f"the answer is not an object: {_short(answer)}")
        missing = [field.name for field in self.fields if field.name not in answer]
        lacking = [name for name in missing if name in self.required]
        if lacking:
            raise ValueError(f"the answer has no {', '.join(lacking)}")
        return {field.name: field.parse(answer.get(field.name)) for field in self.fields}


def json_equal(one: Any, other: Any) -> bool:
    """Return whether two values are equal in JSON, where 1 equals 1.0 but not true."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _properties(part: Part) -> Iterator[tuple[str, Part]]:
    """Yield the properties of an object and of its ``then`` and ``else``."""
    yield from part.get("properties", {}).items()
    for branch in ("then", "else"):
        if isinstance(part.get(branch), Mapping):
            yield from part[branch].get("properties", {}).items()


def _field(name: str, parts: Iterable[Part], schema: Part) -> Field:
    leaves = [leaf for part in parts for leaf in _alternatives(part, schema)]
    values = [_values(leaf) for leaf in leaves if not _is_null(leaf)]
    leaves = [leaf for leaf in leaves if not _is_null(leaf)]
    choices: tuple[Any, ...] | None = None
    if leaves and all(some is not None for some in values):
        choices = _distinct(value for some in values for value in some or ())
    kinds = [_types(leaf) for leaf in leaves]
    allowed = frozenset().union(*kinds) if all(kinds) else frozenset()
    if allowed == {"integer", "number"}:
        allowed = frozenset({"number"})
    formats = {leaf.get("format", "") for leaf in leaves}
    is_date = allowed == {"string"} and formats and formats <= set(_DATE_FORMATS)
    return Field(name, allowed, choices, max(formats, key=len) if is_date else "")


def _alternatives(part: Any, schema: Part, inside: tuple[str, ...] = ()) -> list[Part]:
    """Return the alternatives of a part of a schema, with references and combinations resolved."""
    if not isinstance(part, Mapping):
        return [{}]
    if "$ref" in part:
        pointer = part["$ref"]
        if pointer in inside:
            return []
        rest = {name: value for name, value in part.items() if name != "$ref"}
        found = _alternatives(pointed(schema, pointer), schema, (*inside, pointer))
        return _each([_merged(one, rest) for one in found], schema, inside)
    for keyword in _COMBINED:
        if keyword not in part:
            continue
        merged: list[Part] = [{name: value for name, value in part.items() if name != keyword}]
        if keyword == "allOf":
            for member in part[keyword]:
                found = _alternatives(member, schema, inside)
                merged = [_merged(one, other) for one in merged for other in found]
                merged = merged[:MOST_ALTERNATIVES]
        else:
            merged = [
                _merged(merged[0], other)
                for member in part[keyword]
                for other in _alternatives(member, schema, inside)
            ]
        return _each(merged, schema, inside)
    return [part]


def _each(parts: list[Part], schema: Part, inside: tuple[str, ...]) -> list[Part]:
    found = [one for part in parts for one in _alternatives(part, schema, inside)]
    return found[:MOST_ALTERNATIVES]


def _merged(one: Part, other: Part) -> Part:
    both = {**one, **other}
    if "properties" in one and "properties" in other:
        both["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        both["required"] = [*one["required"], *other["required"]]
    return both


def _values(leaf: Part) -> list[Any] | None:
    """Return the values of an enum (without null) or a constant, None without either."""
    if "const" in leaf:
        return [leaf["const"]]
    return [one for one in leaf["enum"] if one is not None] if "enum" in leaf else None


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    found: list[Any] = []
    for value in values:
        if not any(json_equal(value, other) for other in found):
            found.append(value)
    return tuple(found)


def _is_null(leaf: Part) -> bool:
    return leaf.get("type") in ("null", ["null"]) or ("const" in leaf and leaf["const"] is None)


def _types(leaf: Part) -> frozenset[str]:
    """Return the JSON types of an alternative besides null; an empty set allows any."""
    declared = leaf.get("type")
    if declared is None:
        values = _values(leaf)
        if values is None:
            return frozenset({"object"}) if "properties" in leaf else frozenset()
        return frozenset(_kinds(value)[0] for value in values)
    return frozenset([declared] if isinstance(declared, str) else declared) - {"null"}


def _kinds(value: Any) -> tuple[str, ...]:
    """Return the JSON types of a value."""
    if isinstance(value, bool):
        return ("boolean",)
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return ("integer", "number")
    names = {float: "number", str: "string", list: "array", dict: "object"}
    return (names.get(type(value), "null"),)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
