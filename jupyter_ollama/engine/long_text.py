"""Tokens of texts that are much longer than their contexts: only the ends are tokenized.

Tokenizing takes 1 to 3 s for each megabyte, and most tokens would be cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..prompt.control_marks import GUARD

Tokenize = Callable[[str], list[int]]

_SHORT = 2**16
_LIKELY = 8
"""Characters of a token, somewhat more than in most texts."""
_MARGIN = 64
"""Tokens next to a cut that may differ from those of the whole text."""


class Newest(NamedTuple):
    """The last ``tokens`` of a text, and about how many come before them."""

    tokens: list[int]
    skipped: int


def is_long(text: str, num_ctx: int) -> bool:
    """Return whether a text may be cut before it is tokenized for ``num_ctx`` tokens of context.

    All tokens of shorter texts are counted.
    """
    return len(text) > max(_SHORT, 2 * _LIKELY * num_ctx)


def newest(text: str, num_ctx: int, tokenize: Tokenize) -> Newest:
    """Return more than ``num_ctx`` tokens from the end of a text, or all of them."""
    size = _LIKELY * num_ctx
    while size < len(text):
        start = _place(text, len(text) - size)
        tokens = tokenize(text[start:])
        if len(tokens) > num_ctx + _MARGIN:
            tokens = tokens[_MARGIN // 2 :]
            return Newest(tokens, 1 + start * len(tokens) // (len(text) - start))
        size *= 4
    return Newest(tokenize(text), 0)


def ends(text: str, num_ctx: int, tokenize: Tokenize) -> tuple[list[int], int]:
    """Return the first and the last tokens of a text, and about how many between them are missing.

    All are returned if there are hardly more than ``num_ctx``.
    """
    tokens, skipped = newest(text, num_ctx, tokenize)
    if not skipped:
        return tokens, 0
    head = tokenize(text[: _place(text, _LIKELY // 2 * num_ctx)])
    return head + tokens, max(1, skipped - len(head))


def beginning(text: str, num_ctx: int, tokenize: Tokenize) -> str:
    """Return a part of a text, from its beginning, with the same first ``num_ctx`` tokens.

    It has more than ``num_ctx`` if the text has.
    """
    if not is_long(text, num_ctx):
        return text
    size = _LIKELY * num_ctx
    while size < len(text):
        part = text[: _place(text, size)]
        if len(tokenize(part)) > num_ctx + _MARGIN:
            return part
        size *= 4
    return text


def _place(text: str, at: int) -> int:
    """Return an index soon after ``at`` where to cut a text: before a blank, if there is one."""
    found = [place for blank in " \n" if (place := text.find(blank, at, at + 256)) >= 0]
    place = min(found, default=at)
    # Two guards that stand for the character stay together.
    return place + (text[place - 1 : place + 1] == 2 * GUARD)
