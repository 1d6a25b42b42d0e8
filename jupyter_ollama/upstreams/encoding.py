"""The JSON of requests to upstreams; a large one is made in a thread."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson

LONG_BODY = 2**18
"""The size in bytes from which on JSON is encoded and decoded in a thread."""


async def encoded(body: Any) -> bytes:
    """Return the JSON of a body; a large one is encoded in a thread."""
    large = _weight(body) > LONG_BODY
    return await asyncio.to_thread(_dumps, body) if large else _dumps(body)


def _dumps(body: Any) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        # Lone surrogates and numbers beyond 64 bits, which clients may send in their JSON.
        return json.dumps(body).encode()


def _weight(value: Any) -> int:
    """Return about how many characters a value holds."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    if isinstance(value, list):
        return sum(map(_weight, value)) + len(value)
    return 8
