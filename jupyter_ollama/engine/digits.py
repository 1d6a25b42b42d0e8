"""Limits the digits of numbers in JSON to those that an int64 or a double needs.

A grammar allows any number of digits, and small models may generate them without end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MOST_DECIMALS = 20
"""As many as the shortest text of a double can have: 0.00012345678901234567."""
_MOST_EXPONENT = 3
_LARGEST = 1 << 63
_FEWEST_AT_RISK = 18
"""All integers with so many digits are within int64."""
_MOST_DIGITS = 64
_DIGITS = re.compile(rb"[0-9]+")
_STRING_STOP = re.compile(rb'["\\]')
_IN_NUMBER = frozenset(b"0123456789+-.eE")
_STARTS_NUMBER = frozenset(b"0123456789-")


class DigitTokens:
    """The tokens of a vocabulary that begin with digits."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """Take the bytes of every token."""
        found = [(token, digits.group()) for token, piece in enumerate(pieces)
                 if (digits := _DIGITS.match(piece))]  # fmt: skip
        self._tokens = np.array([token for token, _ in found], np.intp)
        self._digits = [digits for _, digits in found]
        self._words = (len(pieces) + 31) // 32
        self._longest = max(map(len, self._digits), default=0)

    def too_many_after(self, number: bytes) -> NDArray[np.uint32] | None:
        """Return a mask of the tokens that make a partial number too long, None if none does."""
        whole, point, decimals = number.partition(b".")
        _, exponent_mark, exponent = number.lower().partition(b"e")
        if exponent_mark:
            most = _MOST_EXPONENT - len(exponent.lstrip(b"+-"))
            bad = [
                len(digits) > most or not math.isfinite(float(number + digits))
                for digits in self._digits
            ]
        elif point:
            most = _MOST_DECIMALS - len(decimals)
            bad = [len(digits) > most for digits in self._digits] if self._longest > most else []
        elif len(whole) + self._longest <= _FEWEST_AT_RISK:
            bad = []
        elif len(whole) > _MOST_DIGITS:
            bad = [True] * len(self._digits)
        else:
            most = _LARGEST if number.startswith(b"-") else _LARGEST - 1
            bad = [abs(int(number + digits)) > most for digits in self._digits]
        if not any(bad):
            return None
        bits = np.zeros(self._words * 32, np.uint8)
        bits[self._tokens[np.array(bad)]] = 1
        return np.packbits(bits, bitorder="little").view(np.uint32)


class NumberScanner:
    """Finds the number that a JSON text ends in."""

    def __init__(self) -> None:
        """Start with an empty text."""
        self._number = b""
        self._in_string = self._is_escaped = False
        self._before: list[tuple[bytes, bool, bool]] = []

    @property
    def number(self) -> bytes:
        """The number that the text ends in, b"" if it ends in none."""
        return self._number

    def feed(self, piece: bytes) -> None:
        """Append a piece of text."""
        self._before.append((self._number, self._in_string, self._is_escaped))
        at = 0
        while at < len(piece):
            at = self._string(piece, at) if self._in_string else self._outside(piece, at)

    def rollback(self, count: int) -> None:
        """Remove the last ``count`` pieces."""
        if count:
            self._number, self._in_string, self._is_escaped = self._before[-count]
            del self._before[-count:]

    def _string(self, piece: bytes, at: int) -> int:
        if self._is_escaped:
            self._is_escaped = False
            return at + 1
        stop = _STRING_STOP.search(piece, at)
        if stop is None:
            return len(piece)
        # An escape stays within the string, a quote ends it.
        self._in_string = self._is_escaped = stop.group() == b"\\"
        return stop.end()

    def _outside(self, piece: bytes, at: int) -> int:
        byte = piece[at]
        if byte in (_IN_NUMBER if self._number else _STARTS_NUMBER):
            self._number += piece[at : at + 1]
        else:
            self._number = b""
            self._in_string = byte == ord('"')
        return at + 1
