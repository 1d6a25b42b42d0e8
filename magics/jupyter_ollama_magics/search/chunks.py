"""Chunks of long texts: sentences, as many as fit a number of tokens, with an overlap."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

SENTENCE = re.compile(
    r"[.!?\u2026]+[\"'\u201d\u2019\u00bb)\]]*\s+"
    r"|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d\u2019\uff09]*\s*"  # of Chinese and Japanese
    r"|\n\s*\n\s*|\n(?=\s*[-*\u2022#\d])"
)
"""The end of a sentence, a paragraph or an item of a list, with the space after it."""

Counts = Callable[[Sequence[str]], Mapping[str, int]]
"""Returns the number of tokens of each of some texts."""


def chunked(texts: Sequence[str], size: int, overlap: int, counts: Counts) -> list[list[str]]:
    """Return the chunks of each text, of at most ``size`` tokens.

    A text that fits is one chunk. A chunk begins with the last sentences of the chunk before, of
    at most ``overlap`` tokens together. A sentence that does not fit is cut between words, and a
    word that does not fit within it.

    Parameters
    ----------
    texts : sequence of str
        The texts.
    size, overlap : int
        Numbers of tokens; the overlap is smaller than the size.
    counts : callable
        Returns the number of tokens of each of some texts.

    Returns
    -------
    list of list of str
        The chunks of each text, without space at their ends.
    """
    # A token has at least one byte, so that short texts need no count.
    doubtful = [text for text in dict.fromkeys(texts) if len(text.encode()) > size]
    known = counts(doubtful) if doubtful else {}
    parts = {text: _sentences(text) for text in doubtful if known[text] > size}
    numbers: dict[str, int] = {}
    unknown = {part for cut in parts.values() for part in cut}
    while unknown:
        numbers |= counts(sorted(unknown))
        for text, cut in parts.items():
            parts[text] = [half for part in cut for half in _fitting(part, numbers, size)]
        unknown = {part for cut in parts.values() for part in cut if part not in numbers}
    return [
        list(_packed(parts[text], numbers, size, overlap)) if text in parts else [text]
        for text in texts
    ]


def _sentences(text: str) -> list[str]:
    ends = [match.end() for match in SENTENCE.finditer(text)]
    bounds = [0, *ends, len(text)]
    return [text[a:b] for a, b in pairwise(bounds) if b > a]


def _fitting(part: str, numbers: Mapping[str, int], size: int) -> list[str]:
    """Return a part, or its halves if it has more tokens than ``size``."""
    if numbers.get(part, 0) <= size or len(part) < 2:
        return [part]
    middle = len(part) // 2
    space = part.rfind(" ", 1, middle + 1)
    at = space + 1 if space > 0 else middle
    return [part[:at], part[at:]]


def _packed(
    parts: Sequence[str], numbers: Mapping[str, int], size: int, overlap: int
) -> Iterator[str]:
    held: list[str] = []
    fresh = 0  # parts of ``held`` that no chunk has yet
    for part in parts:
        if held and sum(numbers[one] for one in held) + numbers[part] > size:
            if fresh and (text := "".join(held).strip()):
                yield text
            held, fresh = _end(held, numbers, min(overlap, size - numbers[part])), 0
        held.append(part)
        fresh += 1
    if fresh and (text := "".join(held).strip()):
        yield text


def _end(parts: Sequence[str], numbers: Mapping[str, int], most: int) -> list[str]:
    """Return the last parts that have at most ``most`` tokens together."""
    count = total = 0
    for part in reversed(parts):
        total += numbers[part]
        if total > most:
            break
        count += 1
    return list(parts[len(parts) - count :])
