"""Writing tensors piece by piece, so that a model of any size needs little memory."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from .model_folder import ConversionError
from .safetensors import Stored

_PIECE = 1 << 22
"""Numbers held in memory at a time."""


@dataclass(frozen=True)
class Tensor:
    """A tensor to write: the rows of its source in ``order``, times ``scale``, plus ``shift``."""

    name: str
    source: Stored
    half: bool = False
    order: NDArray[np.intp] | None = None
    scale: float = 1.0
    shift: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, the slowest dimension first."""
        rows = self.source.shape[0] if self.order is None else len(self.order)
        return (rows, *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers in the new file."""
        return np.dtype(np.float16 if self.half else np.float32)

    @property
    def size(self) -> int:
        """The bytes in the new file."""
        return math.prod(self.shape) * self.dtype.itemsize

    def cut(self, rows: int) -> Tensor:
        """Return the first rows only."""
        return replace(self, order=np.arange(rows))

    def pieces(self) -> Iterator[NDArray[Any]]:
        """Read the rows in pieces. Raises ConversionError if numbers do not fit."""
        step = max(1, _PIECE // max(math.prod(self.shape[1:]), 1))
        for start in range(0, self.shape[0], step):
            part = slice(start, start + step)
            values = self.source.rows(part if self.order is None else self.order[part])
            if self.scale != 1.0 or self.shift:
                values = values * np.float32(self.scale) + np.float32(self.shift)
            try:
                with np.errstate(over="raise"):
                    yield values.astype(self.dtype)
            except FloatingPointError:
                raise ConversionError(f"tensor {self.name} does not fit 16-bit numbers") from None


def write(writer: gguf.GGUFWriter, tensors: list[Tensor]) -> None:
    """Write the file; progress goes to standard error, a line for each tensor."""
    for tensor in tensors:
        writer.add_tensor_info(tensor.name, tensor.shape, tensor.dtype, tensor.size)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    (file,) = writer.fout
    for number, tensor in enumerate(tensors, 1):
        sys.stderr.write(f"[{number}/{len(tensors)}] {tensor.name}\n")
        writer.write_padding(file, file.tell())
        for piece in tensor.pieces():
            file.write(piece.data)
    writer.write_padding(file, file.tell())
    writer.close()
