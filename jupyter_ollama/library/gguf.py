"""Reading the header of a GGUF file: what it says of a model, without the weights.

Files may come from anywhere, so every count is checked against the file before it is believed.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
"""The name of each type of tensor, the elements in a block of it, and the bytes of a block."""

FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
"""The names of ``general.file_type``, which are also those of the types to quantize to."""

_SCALARS = "BbHhIif?"  # the codes of value types 0 to 7; 10 to 12 are 64 bits wide
_FLOAT, _STRING, _ARRAY = 6, 8, 9
_MAX_PAIRS = 1 << 16
_MAX_TENSORS = 1 << 18
_MAX_TEXT = 1 << 24
_MAX_ELEMENTS = 1 << 23
_MAX_DIMENSIONS = 8
_MAX_WEIGHTS = 1 << 48


class InvalidGGUF(ValueError):
    """A file that is no GGUF, or one that is broken."""


class Tensor(NamedTuple):
    """One tensor. ``shape`` has the fastest dimension first, ``offset`` counts from the data.

    ``size`` is in bytes, 0 for a type that is not known here.
    """

    name: str
    shape: tuple[int, ...]
    type_name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Header:
    """What a GGUF file says of itself. Arrays are None in ``metadata`` unless they were asked for.

    ``lengths`` has the length of each array, ``data_offset`` and ``file_size`` are in bytes, and
    ``spans`` are the first byte of each metadata entry and that after its last one.
    """

    version: int
    metadata: dict[str, Any]
    lengths: dict[str, int]
    tensors: list[Tensor]
    data_offset: int
    file_size: int
    spans: dict[str, tuple[int, int]]

    @property
    def architecture(self) -> str:
        """The family of the model, "unknown" if it is not said."""
        return str(self.metadata.get("general.architecture") or "unknown")

    @property
    def parameter_count(self) -> int:
        """The number of weights."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def file_type(self) -> str:
        """The name of the type that most weights have, "unknown" if it is not said."""
        number = self.metadata.get("general.file_type")
        return FILE_TYPES.get(number, "unknown") if isinstance(number, int) else "unknown"

    def get(self, key: str) -> Any:
        """Return the value of a key below the architecture's own prefix, or None."""
        return self.metadata.get(f"{self.architecture}.{key}")

    def check_data(self) -> None:
        """Raise InvalidGGUF if the file ends before its tensors do."""
        for tensor in self.tensors:
            if self.data_offset + tensor.offset + tensor.size > self.file_size:
                raise InvalidGGUF(f"the file ends before the data of tensor {tensor.name}")


def read_header(path: Path, arrays: bool = False) -> Header:
    """Read the header of a GGUF file of version 2 or 3. Raises InvalidGGUF or OSError.

    With ``arrays`` the values of arrays are read too, else only their lengths.
    """
    with path.open("rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise InvalidGGUF("the file is empty") from None
        with data:
            try:
                return _Reader(data, arrays).header()
            except (struct.error, IndexError, OverflowError):
                raise InvalidGGUF("the file ends within its header") from None


class _Reader:
    def __init__(self, data: mmap.mmap, arrays: bool) -> None:
        self.data = data
        self.size = len(data)
        self.arrays = arrays
        self.at = 0
        self.order = "<"
        self.elements = 0
        self.lengths: dict[str, int] = {}

    def header(self) -> Header:
        if self.data[:4] != b"GGUF":
            raise InvalidGGUF("the file does not begin as a GGUF file does")
        self.at = 4
        version = self.number("I")
        if version and not version & 0xFFFF:  # written by a machine of the other byte order
            self.order = ">"
            version = int.from_bytes(version.to_bytes(4, "little"), "big")
        if version not in (2, 3):
            raise InvalidGGUF(f"GGUF version {version} is not supported")
        tensors = self.count(_MAX_TENSORS, 24, "tensors")
        pairs = self.count(_MAX_PAIRS, 13, "metadata entries")
        metadata, spans = {}, {}
        for _ in range(pairs):
            begin = self.at
            key, value = self.pair()
            metadata[key], spans[key] = value, (begin, self.at)
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 0 < alignment <= 1 << 20:
            raise InvalidGGUF("the alignment makes no sense")
        found = [self.tensor() for _ in range(tensors)]
        start = -(-self.at // alignment) * alignment
        return Header(version, metadata, self.lengths, found, start, self.size, spans)

    def number(self, code: str) -> Any:
        found = struct.unpack_from(self.order + code, self.data, self.at)[0]
        self.at += struct.calcsize(self.order + code)
        return found

    def count(self, most: int, smallest: int, what: str) -> int:
        """Read how many things follow, each of at least ``smallest`` bytes."""
        number: int = self.number("Q")
        if number > most or number * smallest > self.size - self.at:
            raise InvalidGGUF(f"{number} {what} cannot be in this file")
        return number

    def text(self) -> str:
        length = self.count(_MAX_TEXT, 1, "characters")
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8", "replace")

    def pair(self) -> tuple[str, Any]:
        key = self.text()
        kind = self.number("I")
        if kind == _STRING:
            return key, self.text()
        if kind == _FLOAT:
            return key, _shortest(self.number("f"))
        if kind != _ARRAY:
            return key, self.number(_code(kind))
        element = self.number("I")
        if element == _STRING:
            return key, self.strings(key)
        return key, self.numbers(key, _code(element))

    def numbers(self, key: str, code: str) -> list[Any] | None:
        width = struct.calcsize(self.order + code)
        length = self.count(self.size, width, "array elements")
        self.lengths[key] = length
        start, self.at = self.at, self.at + length * width
        if not self.arrays:
            return None
        self.spend(length)
        return list(struct.unpack_from(f"{self.order}{length}{code}", self.data, start))

    def strings(self, key: str) -> list[str] | None:
        length = self.count(self.size, 8, "array elements")
        self.lengths[key] = length
        self.spend(length)
        if self.arrays:
            return [self.text() for _ in range(length)]
        self.at = _skip_strings(self.data, self.at, length, struct.Struct(self.order + "Q"))
        if self.at > self.size:
            raise IndexError
        return None

    def spend(self, elements: int) -> None:
        self.elements += elements
        if self.elements > _MAX_ELEMENTS:
            raise InvalidGGUF("the arrays are too long")

    def tensor(self) -> Tensor:
        name = self.text()
        dimensions = self.number("I")
        if dimensions > _MAX_DIMENSIONS:
            raise InvalidGGUF(f"tensor {name} has {dimensions} dimensions")
        shape = tuple(self.number("Q") for _ in range(dimensions))
        if math.prod(shape) > _MAX_WEIGHTS:
            raise InvalidGGUF(f"tensor {name} is too large")
        kind, offset = self.number("I"), self.number("Q")
        type_name, block, width = TENSOR_TYPES.get(kind, (f"type {kind}", 1, 0))
        if shape and shape[0] % block:
            raise InvalidGGUF(f"tensor {name} has rows that are no whole blocks of {type_name}")
        return Tensor(name, shape, type_name, offset, math.prod(shape) // block * width)


def _code(kind: int) -> str:
    if kind < len(_SCALARS):
        return _SCALARS[kind]
    if 10 <= kind <= 12:
        return "Qqd"[kind - 10]
    raise InvalidGGUF(f"metadata of type {kind} is not supported")


def _shortest(value: float) -> float:
    """The number with the fewest digits that is the same 32-bit float: 1e-05, not 9.99999975e-06"""
    if not math.isfinite(value):
        return value
    stored = struct.pack("f", value)
    shorter = (float(f"{value:.{digits}g}") for digits in (6, 7, 8))
    return next((number for number in shorter if struct.pack("f", number) == stored), value)


def _skip_strings(data: mmap.mmap, at: int, count: int, length: struct.Struct) -> int:
    # Vocabularies have hundreds of thousands of strings: this loop is most of the reading time.
    unpack = length.unpack_from
    for _ in repeat(None, count):
        (size,) = unpack(data, at)
        at += size + 8
    return at
