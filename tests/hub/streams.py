"""Checks of streamed answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

MODEL = "smollm2"
STORY = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Tell me a story."}],
    "options": {"num_predict": 4, "temperature": 0},
}


def numbers(count: int) -> dict[str, Any]:
    """Return a request with a long answer: its format keeps the model from stopping early."""
    items = {"type": "integer", "minimum": 0, "maximum": 999}
    schema = {"type": "array", "items": items, "minItems": count, "maxItems": count}
    return STORY | {"options": {"temperature": 0}, "format": schema}


NUMBERS = numbers(1000)
"""A request whose answer no test reads to its end."""


@contextmanager
def streaming(
    client: httpx2.Client, path: str, body: dict[str, Any], **headers: str
) -> Iterator[tuple[httpx2.Response, Iterator[dict[str, Any]]]]:
    """Post a request; yield the answer and the objects of its lines as they come."""
    with client.stream("POST", path, json=body, headers=headers) as response:
        yield response, (json.loads(line) for line in response.iter_lines() if line.strip())
