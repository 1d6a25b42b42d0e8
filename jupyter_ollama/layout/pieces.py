"""The pieces of a translated file: bytes of the source file, and computed bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple


class Span(NamedTuple):
    """``size`` bytes of the source file from ``offset`` on."""

    offset: int
    size: int


class Made(NamedTuple):
    """``size`` bytes that ``make`` returns when they are read."""

    size: int
    make: Callable[[], bytes]


Piece = bytes | Span | Made


def piece_size(piece: Piece) -> int:
    """Return the number of bytes of a piece."""
    return len(piece) if isinstance(piece, bytes) else piece.size


_UINT8, _UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 0, 4, 5, 6, 7, 8, 9
_CODES = {_UINT8: "B", _UINT32: "I", _INT32: "i", _FLOAT32: "f", _BOOL: "?"}


@dataclass(frozen=True)
class Value:
    """A metadata value: the number of its GGUF type, then its encoded data in pieces.

    ``decoded`` is the Python value, None for an array that was not read; ``length`` is the
    number of elements of an array, ``key`` the key of its entry in the source file.
    """

    pieces: tuple[Piece, ...]
    decoded: Any = None
    length: int | None = None
    key: str = ""


def u32(value: int) -> Value:
    """Encode an unsigned integer."""
    return _scalar(_UINT32, value)


def f32(value: float) -> Value:
    """Encode a number."""
    return _scalar(_FLOAT32, value)


def boolean(value: bool) -> Value:
    """Encode a boolean."""
    return _scalar(_BOOL, value)


def string(value: str) -> Value:
    """Encode a text."""
    data = value.encode("utf-8", "replace")
    return Value((struct.pack("<IQ", _STRING, len(data)) + data,), value)


def i32s(values: Sequence[int]) -> Value:
    """Encode an array of integers."""
    return _array(_INT32, values)


def f32s(values: Sequence[float]) -> Value:
    """Encode an array of numbers."""
    return _array(_FLOAT32, values)


def booleans(values: Sequence[bool]) -> Value:
    """Encode an array of booleans."""
    return _array(_BOOL, values)


def u8s(values: bytes) -> Value:
    """Encode an array of bytes."""
    return _array(_UINT8, values)


def array_header(element: int, length: int) -> bytes:
    """Encode the element type and length of an array."""
    return struct.pack("<IIQ", _ARRAY, element, length)


def _scalar(kind: int, value: Any) -> Value:
    try:
        return Value((struct.pack("<I" + _CODES[kind], kind, value),), value)
    except (struct.error, OverflowError):
        raise ValueError(f"{value} is out of range") from None


def _array(kind: int, values: Sequence[Any]) -> Value:
    try:
        data = struct.pack(f"<{len(values)}{_CODES[kind]}", *values)
    except (struct.error, OverflowError):
        raise ValueError("an array has a number out of range") from None
    return Value((array_header(kind, len(values)) + data,), None, len(values))
