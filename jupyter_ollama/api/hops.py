"""The number of servers that have passed a request on, which ends circles of upstreams."""

from __future__ import annotations

from ..errors import OllamaError

HOPS = "X-Ollama-Hops"
"""The header with that number, set by each server that passes a request on."""

MOST_HOPS = 3
"""A site has at most a server for users, one for a department and one for a cluster in a row."""


def read_hops(text: str) -> int:
    """Return the number in the header, 0 where there is none."""
    return min(int(text), MOST_HOPS) if text.isascii() and text.isdecimal() and len(text) < 9 else 0


def check_hops(hops: int) -> None:
    """Raise OllamaError(508) for a request that was passed on too often."""
    if hops >= MOST_HOPS:
        raise OllamaError(508, f"{hops} servers have passed this request on: they form a circle")
