"""Reading the header of a GGUF file: the description of a model, without the weights.

Files are untrusted: every count is checked against the size of the file before it is used.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from .gguf_types import FILE_TYPES, TENSOR_TYPES
from .regular_file import open_regular

_SCALARS = "BbHhIif?"  # the codes of value types 0 to 7; 10 to 12 are 64 bits wide
_FLOAT, _STRING, _ARRAY = 6, 8, 9
_MAX_PAIRS = 1 << 16
_MAX_TENSORS = 1 << 18
_MAX_TEXT = 1 << 24
_MAX_NAME = 1 << 10
_MAX_ELEMENTS = 1 << 23
_MAX_DIMENSIONS = 8
_MAX_WEIGHTS = 1 << 48

_TEXTS = {"general.architecture", "general.type", "general.name", "tokenizer.chat_template"}
_OF_LAYERS = {"attention.head_count", "attention.head_count_kv", "feed_forward_length"}
"""Keys with an integer, or an array with one for each layer."""
_INTEGERS = {
    "split.no",
    "split.count",
    "split.tensors.count",
    "block_count",
    "context_length",
    "embedding_length",
    "expert_count",
    "expert_used_count",
    "nextn_predict_layers",
    "pooling_type",
    "attention.key_length",
    "attention.value_length",
    "audio.block_count",
    "vision.block_count",
}
"""Keys with an integer; those below the architecture's own prefix are listed without it."""


class InvalidGGUF(ValueError):
    """A file that is not a GGUF file, or a damaged one."""


class Tensor(NamedTuple):
    """One tensor. ``shape`` has the fastest dimension first, ``offset`` counts from the data.

    ``size`` is in bytes, 0 for an unknown type.
    """

    name: str
    shape: tuple[int, ...]
    type_name: str
    offset: int
    size: int


@dataclass(frozen=True)
class Header:
    """The header of a GGUF file. Arrays are None in ``metadata`` unless they were requested.

    ``lengths`` has the length of each array, ``data_offset`` and ``file_size`` are in bytes, and
    ``spans`` are the start and end offsets of each metadata entry.
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
        """The family of the model, "unknown" if the file does not name it."""
        return str(self.metadata.get("general.architecture") or "unknown")

    @property
    def parameter_count(self) -> int:
        """The number of weights."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors)

    @property
    def file_type(self) -> str:
        """The name of the type that most weights have, "unknown" if the file does not name it."""
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
    with open_regular(path) as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise InvalidGGUF("the file is empty") from None
        with data:
            try:
                return _Reader(data, arrays).header()
            except (struct.error, IndexError, OverflowError):
                raise InvalidGGUF("the file ends within its header") from None


def read_entry(data: mmap.mmap, begin: int) -> Any:
    """Return the value of the metadata entry that begins at a byte, its elements if it is an array.

    The file is little-endian. Raises InvalidGGUF.
    """
    return _reader_at(data, begin).pair()[1]


def array_span(data: mmap.mmap, begin: int, length: int) -> tuple[int, int, int]:
    """Return the element type of an array entry, and the bytes of its first ``length`` elements.

    The entry begins at byte ``begin`` of a little-endian file and has at least ``length`` elements.
    """
    reader = _reader_at(data, begin)
    reader.text()
    reader.number("I")
    element = reader.number("I")
    reader.number("Q")
    if element == _STRING:
        return element, reader.at, _skip_strings(data, reader.at, length, struct.Struct("<Q"))
    return element, reader.at, reader.at + length * struct.calcsize("<" + _code(element))


def _reader_at(data: mmap.mmap, at: int) -> _Reader:
    reader = _Reader(data, arrays=True)
    reader.at = at
    return reader


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
            raise InvalidGGUF("the file does not start with the magic number of GGUF")
        self.at = 4
        version = self.number("I")
        if version and not version & 0xFFFF:  # written by a big-endian machine
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
        _check_types(metadata, self.lengths)
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 0 < alignment <= 1 << 20:
            raise InvalidGGUF("the alignment is invalid")
        found = [self.tensor() for _ in range(tensors)]
        start = -(-self.at // alignment) * alignment
        return Header(version, metadata, self.lengths, found, start, self.size, spans)

    def number(self, code: str) -> Any:
        found = struct.unpack_from(self.order + code, self.data, self.at)[0]
        self.at += struct.calcsize(self.order + code)
        return found

    def count(self, most: int, smallest: int, what: str) -> int:
        """Read the number of following items, each of at least ``smallest`` bytes."""
        number: int = self.number("Q")
        if number > most or number * smallest > self.size - self.at:
            raise InvalidGGUF(f"{number} {what} do not fit in this file")
        return number

    def text(self, most: int = _MAX_TEXT) -> str:
        length = self.count(most, 1, "characters")
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
        name = self.text(_MAX_NAME)
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


def _check_types(metadata: dict[str, Any], lengths: dict[str, int]) -> None:
    """Raise InvalidGGUF unless the values that readers and planners use have their types."""
    prefix = f"{metadata.get('general.architecture')}."
    for key, value in metadata.items():
        name = key.removeprefix(prefix) if key.startswith(prefix) else key
        if name in _OF_LAYERS and key in lengths:
            continue
        if name in _TEXTS and not isinstance(value, str):
            raise InvalidGGUF(f"{key} must be a text")
        if name in _INTEGERS | _OF_LAYERS and type(value) is not int:
            raise InvalidGGUF(f"{key} must be an integer")


def _code(kind: int) -> str:
    if kind < len(_SCALARS):
        return _SCALARS[kind]
    if 10 <= kind <= 12:
        return "Qqd"[kind - 10]
    raise InvalidGGUF(f"metadata of type {kind} is not supported")


def _shortest(value: float) -> float:
    """Return the shortest number that is the same 32-bit float: 1e-05, not 9.99999975e-06."""
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
