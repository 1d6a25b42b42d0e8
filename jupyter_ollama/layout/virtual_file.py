"""A GGUF file computed on reading: a new header before the tensors of another file."""

from __future__ import annotations

import bisect
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import BinaryIO, NamedTuple

from ..library.gguf import Header, Tensor
from ..library.gguf_types import TENSOR_TYPES
from .errors import LayoutError
from .pieces import Made, Piece, Span, Value, piece_size
from .source import Source

_TYPE_NUMBERS = {name: number for number, (name, _, _) in TENSOR_TYPES.items()}
_BLOCK_SIZES = {name: (block, width) for name, block, width in TENSOR_TYPES.values()}
_PIECE = 1 << 20


class TensorView(NamedTuple):
    """A tensor of a view: ``shape`` has the fastest dimension first, ``pieces`` are its data."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes of data."""
        return sum(map(piece_size, self.pieces))


class VirtualFile:
    """The bytes of a GGUF, computed on reading.

    ``header`` describes them as ``read_header`` would; ``size`` is in bytes, ``tensors`` has the
    pieces of each tensor.
    """

    def __init__(
        self, source: Source, values: Mapping[str, Value], tensors: Iterable[TensorView]
    ) -> None:
        """Lay out a file. Raises LayoutError for tensors that extend beyond the source."""
        self._source = source
        alignment = source.header.metadata.get("general.alignment", 32)
        tensors = list(tensors)
        self.tensors: tuple[TensorView, ...] = tuple(tensors)
        _check(source, tensors)
        metadata = list(_metadata(values, len(tensors)))
        infos, described = _tensor_infos(tensors, alignment)
        data_offset = sum(map(piece_size, metadata)) + len(infos)
        padding = bytes(-data_offset % alignment)
        pieces: list[Piece] = [*metadata, infos + padding]
        for tensor in tensors:
            pieces += [*tensor.pieces, bytes(-tensor.size % alignment)]
        self._pieces = [piece for piece in pieces if piece_size(piece)]
        self._ends = list(accumulate(map(piece_size, self._pieces)))
        self.size = self._ends[-1]
        self._last_made: tuple[int, bytes] = (-1, b"")
        self.header = Header(
            version=3,
            metadata={key: value.decoded for key, value in values.items()},
            lengths={
                key: value.length for key, value in values.items() if value.length is not None
            },
            tensors=described,
            data_offset=data_offset + len(padding),
            file_size=self.size,
            spans={},
        )

    def read_into(self, offset: int, target: memoryview) -> int:
        """Copy bytes from ``offset`` on into ``target``; return their number."""
        done = 0
        while done < len(target) and offset + done < self.size:
            at = offset + done
            number = bisect.bisect_right(self._ends, at)
            piece = self._pieces[number]
            inside = at - (self._ends[number] - piece_size(piece))
            count = min(len(target) - done, piece_size(piece) - inside)
            part = target[done : done + count]
            if isinstance(piece, Span):
                count = os.preadv(self._source.fd, [part], piece.offset + inside)
                if not count:
                    raise OSError(f"{self._source.path} has become shorter")
            else:
                data = piece if isinstance(piece, bytes) else self._made(number, piece)
                part[:] = data[inside : inside + count]
            done += count
        return done

    def write_to(self, file: BinaryIO) -> None:
        """Write all bytes to a file."""
        buffer = memoryview(bytearray(_PIECE))
        offset = 0
        while count := self.read_into(offset, buffer):
            file.write(buffer[:count])
            offset += count

    def _made(self, number: int, piece: Made) -> bytes:
        # A reader reads a piece in several sequential parts.
        if self._last_made[0] != number:
            data = piece.make()
            if len(data) != piece.size:
                raise LayoutError("a converted tensor has another size than expected")
            self._last_made = number, data
        return self._last_made[1]


def _check(source: Source, tensors: Iterable[TensorView]) -> None:
    seen = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise LayoutError(f"there are two tensors named {tensor.name}")
        seen.add(tensor.name)
        for piece in tensor.pieces:
            if isinstance(piece, Span) and piece.offset + piece.size > source.header.file_size:
                raise LayoutError(f"the file ends before the data of tensor {tensor.name}")


def _metadata(values: Mapping[str, Value], tensors: int) -> Iterator[Piece]:
    yield b"GGUF" + struct.pack("<IQQ", 3, tensors, len(values))
    for key, value in values.items():
        name = key.encode("utf-8", "replace")
        yield struct.pack("<Q", len(name)) + name
        yield from value.pieces


def _tensor_infos(tensors: Iterable[TensorView], alignment: int) -> tuple[bytes, list[Tensor]]:
    encoded = []
    described = []
    offset = 0
    for tensor in tensors:
        name = tensor.name.encode("utf-8", "replace")
        dimensions = len(tensor.shape)
        encoded.append(
            struct.pack("<Q", len(name))
            + name
            + struct.pack(f"<I{dimensions}Q", dimensions, *tensor.shape)
            + struct.pack("<IQ", type_number(tensor), offset)
        )
        described.append(Tensor(tensor.name, tensor.shape, tensor.type_name, offset, tensor.size))
        offset += tensor.size + -tensor.size % alignment
    return b"".join(encoded), described


def block_size(tensor: TensorView) -> tuple[int, int]:
    """Return the elements and the bytes of a block. Raises LayoutError for an unknown type."""
    type_number(tensor)
    return _BLOCK_SIZES[tensor.type_name]


def type_number(tensor: TensorView) -> int:
    """Return the number of a tensor's type in a GGUF. Raises LayoutError for an unknown one."""
    number = _TYPE_NUMBERS.get(tensor.type_name)
    if number is None:
        raise LayoutError(f"tensor {tensor.name} is of an unknown type, {tensor.type_name}")
    return number
