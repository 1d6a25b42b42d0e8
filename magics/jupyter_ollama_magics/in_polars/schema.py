"""The Polars dtypes of values that a JSON schema allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from ..schema_check import pointed

DEEPEST = 16
"""The number of nested parts that become nested dtypes; a schema may refer to itself."""

_DTYPES: dict[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
}


def json_dtype(part: Any, schema: Mapping[str, Any], depth: int = 0) -> pl.DataType:
    """Return the dtype of a part of a schema: String, which holds JSON, where several types fit."""
    if not isinstance(part, Mapping) or depth > DEEPEST:
        return pl.String()
    if "$ref" in part:
        return json_dtype(pointed(schema, part["$ref"]), schema, depth + 1)
    for keyword in ("anyOf", "oneOf", "allOf"):
        if keyword in part:
            others = [one for one in part[keyword] if one != {"type": "null"}]
            return json_dtype(others[0] if len(others) == 1 else None, schema, depth + 1)
    declared = part.get("type")
    if isinstance(declared, list):
        others = [one for one in declared if one != "null"]
        declared = others[0] if len(others) == 1 else None
    if declared == "array" and isinstance(part.get("items"), Mapping):
        return pl.List(json_dtype(part["items"], schema, depth + 1))
    if declared in ("object", None) and part.get("properties"):
        return pl.Struct(
            {name: json_dtype(one, schema, depth + 1) for name, one in part["properties"].items()}
        )
    return _DTYPES.get(str(declared), pl.String())
