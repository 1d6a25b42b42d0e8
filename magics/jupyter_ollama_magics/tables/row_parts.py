"""Rows in parts that fit a number of tokens, in their order and without a loss."""

from __future__ import annotations

import re
from collections.abc import Sequence

SEPARATOR = "\n"


def line(text: str) -> str:
    """Return a row as a line of a prompt; the lines of its text are indented below its first."""
    return "- " + text.strip().replace("\n", "\n  ")


def split_text(text: str, limit: int) -> list[str]:
    """Split a text into segments that have no more than ``limit`` tokens in any vocabulary.

    They end after a blank where that is possible, and their concatenation is the text. A character
    has at most four tokens, those of its bytes.
    """
    size = max(limit // 4, 1)
    pattern = re.compile(rf"(?s).{{1,{size}}}(?<=\s)|.{{1,{size}}}(?=\s|$)|.{{1,{size}}}")
    return pattern.findall(text)


def pack(items: Sequence[str], counts: Sequence[int], limit: int) -> list[list[str]]:
    """Return the items in parts whose counts add up to no more than ``limit``.

    As few parts as keep the order, of about equal sizes. Each count is at most ``limit``.
    """
    number = len(_greedy(items, counts, limit))
    if not number:
        return []
    # Parts of equal sizes: the last of the greedy ones may have one row alone.
    even = -(-sum(counts) // number)
    for bound in (even + max(counts), limit):
        parts = _greedy(items, counts, min(bound, limit))
        if len(parts) <= number:
            break
    return parts


def _greedy(items: Sequence[str], counts: Sequence[int], limit: int) -> list[list[str]]:
    parts: list[list[str]] = []
    free = -1
    for item, count in zip(items, counts, strict=True):
        if count > free:
            parts.append([])
            free = limit
        parts[-1].append(item)
        free -= count
    return parts
