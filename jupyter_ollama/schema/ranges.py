"""Bounds of numbers that llguidance accepts: within int64, without redundant ones."""

from __future__ import annotations

import sys
from typing import Any

_LARGEST = (1 << 63) - 1
_NEARLY = 10**18
"""From this bound on llguidance requires the other bound, too."""
_LOWEST = -(1 << 63) + 1024
"""The least double whose negative is an int64."""
_LOWER = ("minimum", "exclusiveMinimum")
_UPPER = ("maximum", "exclusiveMaximum")


def within_range(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without redundant bounds; those of integers are within int64."""
    kinds = schema.get("type")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    is_integer = "integer" in kinds and "number" not in kinds
    most = _LARGEST if is_integer else sys.float_info.max
    result = {
        key: value
        for key, value in schema.items()
        if not (_is_number(value) and ((key in _LOWER and value <= -most)
                                       or (key in _UPPER and value >= most)))
    }  # fmt: skip
    if is_integer:
        lower = [result[key] for key in _LOWER if _is_number(result.get(key))]
        upper = [result[key] for key in _UPPER if _is_number(result.get(key))]
        if lower and not upper and max(lower) >= _NEARLY:
            result["maximum"] = _LARGEST
        if upper and not lower and min(upper) <= -_NEARLY:
            result["minimum"] = _LOWEST
    return result


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
