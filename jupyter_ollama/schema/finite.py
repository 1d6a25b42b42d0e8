"""The part of a schema that finite values fit."""

from __future__ import annotations

from typing import Any

from .keywords import Schema, rebuilt


def without_infinite(
    schema: Schema, definitions: dict[str, Schema]
) -> tuple[Schema, dict[str, Schema]]:
    """Forbid infinite values: a node that requires a child that is such a node.

    The schema and its definitions are those of ``closed``; references point to definitions only.
    """
    ending: set[str] = set()
    grows = True
    while grows:
        before = len(ending)
        ending |= {name for name, one in definitions.items() if _ends(one, ending)}
        grows = len(ending) > before

    def pruned(one: Schema) -> Schema:
        if not _ends(one, ending):
            return False
        return rebuilt(one, pruned) if isinstance(one, dict) else one

    return pruned(schema), {name: pruned(definitions[name]) for name in sorted(ending, key=int)}


def _ends(schema: Schema, ending: set[str]) -> bool:
    """Return whether a value fits if only the definitions in ``ending`` can be fulfilled."""
    if not isinstance(schema, dict):
        return schema is not False
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2] in ending
    if "anyOf" in schema:
        return any(_ends(one, ending) for one in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return True
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    return any(_kind_ends(kind, schema, ending) for kind in kinds)


def _kind_ends(kind: Any, schema: dict[str, Any], ending: set[str]) -> bool:
    if kind == "object":
        properties = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        return all(_ends(properties.get(name, rest), ending) for name in schema.get("required", ()))
    if kind == "array":
        fewest = schema.get("minItems", 0)
        first = schema.get("prefixItems", [])
        if not isinstance(fewest, int) or not isinstance(first, list):
            return True
        rest = schema.get("items", True)
        return all(_ends(one, ending) for one in first[:fewest]) and (
            fewest <= len(first) or _ends(rest, ending)
        )
    return True
