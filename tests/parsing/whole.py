"""Feed answers to parsers, cut in several ways."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jupyter_ollama.parsing.parsed import Parsed, Parser

Joined = tuple[str, str, list[tuple[str, dict[str, Any]]]]


def tool(name: str, /, **types: str) -> dict[str, Any]:
    """Make the definition of a tool whose parameters have these JSON types."""
    properties = {key: {"type": kind} for key, kind in types.items()}
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def fed(parser: Parser, pieces: Sequence[str]) -> list[Parsed]:
    """Feed pieces, and return the parts that each completed."""
    return [*(parser.feed(piece) for piece in pieces), parser.finish()]


def joined(parts: Sequence[Parsed]) -> Joined:
    """Join parts: content, thinking and calls."""
    calls = [call.function for part in parts for call in part.tool_calls]
    assert [call.index for call in calls] == list(range(len(calls)))
    return (
        "".join(part.content for part in parts),
        "".join(part.thinking for part in parts),
        [(call.name, call.arguments) for call in calls],
    )


def parse(make: Callable[[], Parser], text: str) -> Joined:
    """Parse a text whole and cut, and check that the cuts make no difference."""
    whole = joined(fed(make(), [text]))
    for pieces in (list(text), *random_cuts(text)):
        assert joined(fed(make(), pieces)) == whole
    return whole


def random_cuts(text: str, count: int = 4) -> Iterator[list[str]]:
    """Cut a text at reproducible random places."""
    chooser = random.Random(len(text))
    for _ in range(count):
        places = sorted(chooser.randrange(len(text) + 1) for _ in range(len(text) // 4))
        yield [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
