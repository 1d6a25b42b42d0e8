"""Merge the parts of a split GGUF: ``python -m jupyter_ollama.library.merge TARGET PART...``.

Data is copied unchanged, in chunks. Progress goes to standard error, a line for each tensor.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from .child_process import UNSUITABLE
from .gguf import Header, InvalidGGUF, Tensor, read_header
from .gguf_types import TENSOR_TYPES
from .regular_file import open_regular

_NUMBERS = {name: number for number, (name, _, _) in TENSOR_TYPES.items()}
_PIECE = 1 << 23


class _Place(NamedTuple):
    """A tensor, its file, its offset there, and its offset in the data of the new file."""

    tensor: Tensor
    path: Path
    start: int
    offset: int


def merge(parts: list[Path], target: Path) -> None:
    """Write one GGUF of all the parts, in their order. Raises InvalidGGUF."""
    headers = [read_header(path) for path in parts]
    first = headers[0]
    alignment = first.metadata.get("general.alignment", 32)
    places = list(_places(parts, headers, alignment))
    names = {place.tensor.name for place in places}
    if len(names) < len(places):
        raise InvalidGGUF("a tensor is in more than one part")
    stated = first.metadata.get("split.tensors.count", len(places))
    if stated != len(places):
        raise InvalidGGUF(f"the parts have {len(places)} tensors in total, but state {stated}")
    with target.open("wb") as file:
        _write_header(file, parts[0], first, places)
        _pad(file, alignment)
        for number, place in enumerate(places, 1):
            sys.stderr.write(f"[{number}/{len(places)}] {place.tensor.name}\n")
            _copy(place, file)
            _pad(file, alignment)


def _places(parts: list[Path], headers: list[Header], alignment: int) -> Iterator[_Place]:
    offset = 0
    for path, header in zip(parts, headers, strict=True):
        for tensor in header.tensors:
            if tensor.type_name not in _NUMBERS:
                raise InvalidGGUF(f"tensor {tensor.name} is of an unknown type")
            yield _Place(tensor, path, header.data_offset + tensor.offset, offset)
            offset += -(-tensor.size // alignment) * alignment


def _write_header(file: BinaryIO, source: Path, header: Header, places: list[_Place]) -> None:
    spans = [span for key, span in header.spans.items() if not key.startswith("split.")]
    file.write(b"GGUF" + struct.pack("<IQQ", 3, len(places), len(spans)))
    with open_regular(source) as first:
        for begin, end in spans:
            first.seek(begin)
            file.write(first.read(end - begin))
    for tensor, _, _, offset in places:
        name = tensor.name.encode()
        file.write(struct.pack("<Q", len(name)) + name + struct.pack("<I", len(tensor.shape)))
        file.write(struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape))
        file.write(struct.pack("<IQ", _NUMBERS[tensor.type_name], offset))


def _copy(place: _Place, file: BinaryIO) -> None:
    left = place.tensor.size
    with open_regular(place.path) as source:
        source.seek(place.start)
        while left:
            piece = source.read(min(left, _PIECE))
            if not piece:
                raise InvalidGGUF(f"the file ends before the data of tensor {place.tensor.name}")
            file.write(piece)
            left -= len(piece)


def _pad(file: BinaryIO, alignment: int) -> None:
    file.write(bytes(-file.tell() % alignment))


if __name__ == "__main__":
    try:
        merge([Path(part) for part in sys.argv[2:]], Path(sys.argv[1]))
    except InvalidGGUF as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(UNSUITABLE)
