"""A schema as alternatives, each a list of parts without ``allOf``, ``anyOf``, ``if`` and the like.

An object can be closed only if its whole description is known. So combinations of schemas are
multiplied out: ``{"properties": P, "anyOf": [A, B]}`` is P and A, or P and B.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .document import REFERENCES, Document, SchemaError
from .keywords import LITERAL, Schema
from .values import common, finite_values, without, without_types

Part = dict[str, Any]
"""Keywords that apply to one value, or a reference alone."""
Alternative = list[Part]

_MOST = 1000
"""The most alternatives of a schema."""
_ANNOTATIONS = (LITERAL - {"const", "enum"}) | {
    "$anchor", "$comment", "$defs", "$dynamicAnchor", "$id", "$recursiveAnchor", "$schema",
    "$vocabulary", "contentEncoding", "contentMediaType", "contentSchema", "definitions",
    "deprecated", "description", "id", "readOnly", "title", "writeOnly",
}  # fmt: skip
ASSERTIONS = frozenset({
    "additionalItems", "additionalProperties", "const", "contains", "enum", "exclusiveMaximum",
    "exclusiveMinimum", "format", "items", "maxContains", "maxItems", "maxLength",
    "maxProperties", "maximum", "minContains", "minItems", "minLength", "minProperties", "minimum",
    "multipleOf", "pattern", "patternProperties", "prefixItems", "properties",
    "propertyNames", "required", "type", "unevaluatedItems", "unevaluatedProperties",
    "uniqueItems",
})  # fmt: skip
"""Keywords that constrain a value by themselves."""


class Expander:
    """Multiplies out the schemas of a document."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def alternatives(self, schema: Schema) -> list[Alternative]:
        """Return the alternatives of a schema. Raises SchemaError if they are too many.

        A reference is kept if the alternative has no other part.
        """
        found = []
        for alternative in self._expand(schema, {}):
            found += self._followed(alternative, frozenset())
            _check(len(found))
        return found

    def _followed(self, alternative: Alternative, seen: frozenset[int]) -> list[Alternative]:
        """Resolve the references among several parts."""
        if len(alternative) == 1:
            return [alternative]
        factors: list[list[Alternative]] = []
        for part in alternative:
            if not is_reference(part):
                factors.append([[part]])
                continue
            target = self._document.target(part)
            # A schema that is a part of itself has no finite expansion.
            inner = [] if id(target) in seen else self._expand(target, {})
            # References in the resolved parts are resolved together with the other parts.
            factors.append(
                [
                    followed
                    for parts in inner
                    for followed in self._followed([*parts, {}], seen | {id(target)})
                ]
            )
        return [[part for part in parts if part] for parts in self._multiplied(factors)]

    def _expand(self, schema: Schema, scope: Mapping[str, Schema]) -> list[Alternative]:
        """Return alternatives whose parts may be references.

        ``scope`` are the properties named by enclosing schemas of the same value.
        """
        if schema is False:
            return []
        if schema is True:
            return [[]]
        if not isinstance(schema, dict):
            raise SchemaError("a schema must be an object or a boolean")
        if isinstance(named := schema.get("properties"), dict):
            scope = {**scope, **named}
        factors: list[list[Alternative]] = []
        part = {key: value for key, value in schema.items() if key in ASSERTIONS}
        if "propertyNames" in part:
            part["propertyNames"] = self._document.resolved(part["propertyNames"])
        # Properties are generated in the order of the schema.
        place = "properties" if "properties" in part else next(iter(part), None)
        for key, value in schema.items():
            if key == place:
                factors.append([[part]])
            elif key in ASSERTIONS:
                continue
            elif key not in _ANNOTATIONS:
                factors += self._factors(key, value, schema, scope)
        return self._multiplied(factors)

    def _multiplied(self, factors: list[list[Alternative]]) -> list[Alternative]:
        """Return every combination of one alternative of each factor, except contradictions."""
        certain = [parts for factor in factors if len(factor) == 1 for parts in factor]
        required = {name for parts in certain for part in parts for name in required_names(part)}
        found: list[Alternative] = [[]]
        for factor in factors:
            longer = ([*parts, *more] for parts in found for more in factor)
            found = [parts for parts in longer if self._may_fit(parts, required)]
            _check(len(found))
        return found

    def _may_fit(self, parts: Alternative, required: set[str]) -> bool:
        """Return whether parts allow a value for each required property."""
        left: dict[str, list[Any]] = {}
        for part in parts:
            for name in required & named_properties(part).keys():
                values = finite_values(part["properties"][name], self._document)
                if values is not None:
                    left[name] = common(left.get(name, values), values)
        return all(left.values())

    def _factors(
        self, key: str, value: Any, schema: Part, scope: Mapping[str, Schema]
    ) -> list[list[Alternative]]:
        """Return the factors of a keyword that combines schemas; none for an unknown keyword."""
        if key in REFERENCES:
            reference = {"$ref": value}
            self._document.adopt(reference, schema)
            return [[[reference]]]
        if key == "allOf":
            return [self._expand(item, scope) for item in _list(key, value)]
        if key == "anyOf":
            return [self._any(_list(key, value), scope)]
        if key == "oneOf":
            return [self._any(_exclusive(_list(key, value)), scope)]
        if key == "not":
            return [self._not(value, schema, scope)]
        if key == "if" and schema.keys() & {"then", "else"}:
            return [self._conditional(schema, scope)]
        if key in ("dependentRequired", "dependentSchemas", "dependencies"):
            return [self._dependent(name, needed, scope) for name, needed in _map(key, value)]
        return []

    def _any(self, branches: Iterable[Schema], scope: Mapping[str, Schema]) -> list[Alternative]:
        found = [parts for branch in branches for parts in self._expand(branch, scope)]
        _check(len(found))
        return found

    def _conditional(self, schema: Part, scope: Mapping[str, Schema]) -> list[Alternative]:
        condition = schema["if"]
        then, other = schema.get("then", True), schema.get("else", True)
        found = self._expand({"allOf": [condition, then]}, scope)
        negated = self._negated(condition, scope)
        if negated is None:
            # The failed condition cannot be expressed. Values that fit both branches are valid.
            return found + self._expand({"allOf": [then, other]}, scope)
        return found + self._any(({"allOf": [one, other]} for one in negated), scope)

    def _not(self, schema: Schema, around: Part, scope: Mapping[str, Schema]) -> list[Alternative]:
        schema = self._document.resolved(schema)
        says = schema.keys() - _ANNOTATIONS if isinstance(schema, dict) else set()
        if schema in (True, {}) and not around.keys() & ASSERTIONS:
            return []  # a type that no value has
        if says == {"type"}:
            forbidden = schema["type"]
            return [[{"type": without_types(forbidden)}]]
        if says and says <= {"properties", "required"}:
            negated = self._negated(schema, scope)
            if negated is not None:
                return self._any(negated, scope)
        # Values are removed from the list of another part; other uses are not enforced.
        return [[]] if schema is False else [[{"not": schema}]]

    def _dependent(self, name: str, needed: Any, scope: Mapping[str, Schema]) -> list[Alternative]:
        present: Schema = {"required": [name]}
        if isinstance(needed, list):
            present = {"required": [name, *needed]}
        elif needed is not True:
            present = {"allOf": [present, needed]}
        return [[{"properties": {name: False}}], *self._expand(present, scope)]

    def _negated(self, condition: Schema, scope: Mapping[str, Schema]) -> list[Schema] | None:
        """Return alternatives of which one holds if a condition fails, None if unknown."""
        if isinstance(condition, bool):
            return [] if condition else [True]
        if not isinstance(condition, dict):
            return None
        if condition.keys() - _ANNOTATIONS - {"properties", "required", "type"}:
            return None
        if condition.get("type", "object") != "object":
            return None
        found: list[Schema] = [
            {"properties": {name: False}} for name in condition.get("required") or []
        ]
        for name, wanted in (condition.get("properties") or {}).items():
            values = finite_values(wanted, self._document)
            known = finite_values(scope.get(name, True), self._document)
            if values is None or known is None:
                return None
            if rest := without(known, values):
                found.append({"properties": {name: {"enum": rest}}, "required": [name]})
        return found


def is_reference(part: Part) -> bool:
    """Return whether a part is a reference."""
    return "$ref" in part


def named_properties(part: Part) -> dict[str, Schema]:
    """Return the properties that a part describes."""
    value = part.get("properties")
    return value if isinstance(value, dict) else {}


def required_names(part: Part) -> list[str]:
    """Return the properties that a part requires."""
    value = part.get("required")
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _check(count: int) -> None:
    if count > _MOST:
        raise SchemaError(f"it combines more than {_MOST} alternatives")


def _list(key: str, value: Any) -> list[Schema]:
    if not isinstance(value, list):
        raise SchemaError(f"{key} must be an array")
    return value


def _map(key: str, value: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise SchemaError(f"{key} must be an object")
    return value.items()


def _exclusive(branches: list[Schema]) -> list[Schema]:
    """Return mutually exclusive branches for branches that differ only in ``required``."""
    bare = all(
        isinstance(branch, dict)
        and isinstance(branch.get("required"), list)
        and not (branch.keys() - _ANNOTATIONS - {"required", "type"})
        for branch in branches
    )
    if not bare:
        return branches
    found = []
    for branch in branches:
        lacks = [[name for name in other["required"] if name not in branch["required"]]
                 for other in branches if other is not branch]  # fmt: skip
        absent = {names[0]: False for names in lacks if names}
        found.append({"allOf": [branch, {"properties": absent}]} if absent else branch)
    return found
