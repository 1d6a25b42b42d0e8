"""Durations as Go writes them ("5m", "1h30m", "-1m"), in seconds, with Go's error texts."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from .errors import OllamaError

_UNITS = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ms": 1e-3}
_UNITS |= {"s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = 2**63 / 1e9
_NUMBER = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^.0-9]*)")


def parse_duration(text: str) -> float:
    """Return the seconds of a Go duration. Raises ValueError with Go's text."""
    quoted = json.dumps(text, ensure_ascii=False)
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError(f"time: invalid duration {quoted}")
    seconds = 0.0
    while rest:
        match = _NUMBER.match(rest)
        if match is None:
            raise ValueError(f"time: invalid duration {quoted}")
        number, unit = match.groups()
        if not unit:
            raise ValueError(f"time: missing unit in duration {quoted}")
        if unit not in _UNITS:
            raise ValueError(
                f"time: unknown unit {json.dumps(unit, ensure_ascii=False)} in duration {quoted}"
            )
        seconds += float(number) * _UNITS[unit]
        rest = rest[match.end() :]
    if seconds > _LONGEST:
        raise ValueError(f"time: invalid duration {quoted}")
    return sign * seconds


def parse_keep_alive(value: Any) -> float:
    """Return the seconds of a request's ``keep_alive``: a number or a Go duration.

    A negative one is ``math.inf``. Raises OllamaError(400) with Ollama's text.
    """
    if isinstance(value, str):
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise OllamaError(400, str(error)) from None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        kind = {bool: "bool", list: "[]interface {}"}.get(type(value), "map[string]interface {}")
        raise OllamaError(400, f"Unsupported type: '{kind}'")
    return math.inf if seconds < 0 or seconds > _LONGEST else seconds
