"""Values of JSON as Go reads and writes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def check_finite(value: float) -> None:
    """Raise ValueError for infinity and NaN, which JSON cannot hold."""
    if not math.isfinite(value):
        raise ValueError(f"json: unsupported value: {value}")


def go_number(value: float) -> str:
    """Write a number as ``encoding/json`` does. Raises ValueError for infinity and NaN."""
    check_finite(value)
    size = abs(value)
    if size and not 1e-6 <= size < 1e21:
        mantissa, exponent = repr(value).split("e")
        return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def list_at(value: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list of a key, [] for anything else."""
    item = value.get(key)
    return item if isinstance(item, list) else []


def text_at(value: Mapping[str, Any], key: str) -> str:
    """Return the text of a key, "" for anything else."""
    item = value.get(key)
    return item if isinstance(item, str) else ""
