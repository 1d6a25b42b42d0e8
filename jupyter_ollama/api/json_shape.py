"""The number of values of a JSON text, counted without building them."""

from __future__ import annotations

_PIECE = 2**20


def most_values(text: bytes | bytearray) -> int:
    """Return a number of values that a JSON text does not exceed; commas in strings count too."""
    return 1 + text.count(b",") + text.count(b"[") + text.count(b"{")


def count_values(text: bytes | bytearray) -> tuple[int, int]:
    """Return the numbers of values in a JSON text, and of members of its outermost value.

    Of a broken text, the part before the fault counts right. Works in pieces, between which other
    threads have their turns.
    """
    import numpy as np

    # Without escapes each quotation mark begins or ends a string.
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    steps = np.zeros(256, np.int8)
    steps[[ord("["), ord("{")]] = 1
    steps[[ord("]"), ord("}")]] = -1
    values, members, depth, in_string = 1, 1, 0, 0
    for start in range(0, len(plain), _PIECE):
        piece = np.frombuffer(plain, np.uint8, min(_PIECE, len(plain) - start), start)
        marks = np.cumsum(piece == ord('"'), dtype=np.int32) + in_string
        outside = marks % 2 == 0
        step = steps[piece] * outside
        depths = np.cumsum(step, dtype=np.int32) + depth
        commas = outside & (piece == ord(","))
        values += int(np.count_nonzero(commas)) + int(np.count_nonzero(step > 0))
        members += int(np.count_nonzero(commas & (depths <= 1)))
        depth, in_string = int(depths[-1]), int(marks[-1]) % 2
    return values, members
