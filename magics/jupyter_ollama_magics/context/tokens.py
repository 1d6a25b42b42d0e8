"""Estimates of the number of tokens of a text, without a model."""

from __future__ import annotations

import re

_PIECES = re.compile(r"[A-Za-z]+|\n[^\S\n]*|[^\S\n]{2,}|[^\w\s]+|\S")
_LETTERS = 7
"""The letters of a word that one token holds, at least."""


def estimate(text: str) -> int:
    """Return about how many tokens a text has: rather too many than too few.

    ``labextension/src/context/tokens.ts`` counts in the same way.
    """
    return sum(_of(piece) for piece in _PIECES.findall(text))


def _of(piece: str) -> int:
    if "a" <= piece[0].lower() <= "z":
        return 1 + (len(piece) - 1) // _LETTERS
    # Signs come in pairs such as "()" and "):"; digits and other letters are one each.
    return 1 if piece[0].isspace() or piece.isalnum() else (len(piece) + 1) // 2


def cut(text: str, tokens: int, mark: str = "…") -> str:
    """Return the beginning of a text that has at most ``tokens`` tokens, with ``mark`` if cut."""
    if estimate(text) <= tokens:
        return text
    left = tokens - estimate(mark)
    end = 0
    for piece in _PIECES.finditer(text):
        left -= _of(piece[0])
        if left < 0:
            break
        end = piece.end()
    return text[:end] + mark
