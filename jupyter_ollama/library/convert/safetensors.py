"""Reading safetensors files: a JSON header, then the tensors, which are mapped, not loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..regular_file import open_regular
from .model_folder import ConversionError, read_json

_MAX_HEADER = 100_000_000
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Stored:
    """A tensor as stored in a file. ``shape`` has the slowest dimension first."""

    type_name: str
    shape: tuple[int, ...]
    source: Path | NDArray[np.float32]
    offset: int = 0

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Stored:
        """Make a tensor of computed numbers."""
        return cls("F32", values.shape, values)

    def rows(self, index: slice | NDArray[np.intp]) -> NDArray[np.float32]:
        """Read some of the rows as 32-bit numbers. Raises ConversionError."""
        if self.type_name not in _TYPES:
            raise ConversionError(f"tensors of type {self.type_name} are not supported")
        raw = self._numbers()[index]
        if self.type_name == "BF16":
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32)

    def all(self) -> NDArray[np.float32]:
        """Read everything."""
        return self.rows(slice(None))

    def _numbers(self) -> NDArray[Any]:
        # Mapped anew for each read: mapped pages count as memory of the process.
        if isinstance(self.source, Path):
            return np.memmap(self.source, _TYPES[self.type_name], "r", self.offset, self.shape)
        return self.source


def read_folder(folder: Path) -> dict[str, Stored]:
    """Return the tensors of all the model's files. Raises ConversionError."""
    if (folder / _INDEX).exists():
        index = read_json(folder / _INDEX)
        names = sorted(set(index.get("weight_map", {}).values()))
        paths = [folder / Path(name).name for name in names]
    else:
        paths = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("*.safetensors"))
    found: dict[str, Stored] = {}
    for path in paths:
        found |= read_file(path)
    return found


def read_file(path: Path) -> dict[str, Stored]:
    """Return the tensors of a file by name. Raises ConversionError."""
    try:
        header, start = _header(path)
    except FileNotFoundError:
        raise ConversionError(f"{path.name} is missing") from None
    header.pop("__metadata__", None)
    available = path.stat().st_size - start
    try:
        return {name: _tensor(path, start, available, about) for name, about in header.items()}
    except (KeyError, TypeError, ValueError):
        raise ConversionError(f"{path.name} has a faulty header") from None


def _header(path: Path) -> tuple[dict[str, Any], int]:
    with open_regular(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _MAX_HEADER:
            raise ConversionError(f"{path.name} is not a safetensors file")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise ConversionError(f"{path.name} has a faulty header") from None
    if not isinstance(header, dict):
        raise ConversionError(f"{path.name} has a faulty header")
    return header, 8 + length


def _tensor(path: Path, start: int, available: int, about: dict[str, Any]) -> Stored:
    begin, end = about["data_offsets"]
    kind, shape = about["dtype"], tuple(about["shape"])
    if not 0 <= begin <= end <= available or any(
        type(size) is not int or size < 0 for size in shape
    ):
        raise ValueError("data_offsets")
    # Unknown types are refused on reading: unused tensors may have any type.
    if kind in _TYPES and end - begin != math.prod(shape) * np.dtype(_TYPES[kind]).itemsize:
        raise ValueError("shape")
    return Stored(kind, shape, path, start + begin)
