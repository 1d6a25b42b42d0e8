"""Reading safetensors files: a JSON header, then the tensors, which are mapped, not loaded."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from .model_folder import ConversionError

_MAX_HEADER = 100_000_000
_TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_tensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Return the tensors of a file by name, as float32 arrays. Raises ConversionError.

    F32, F16 and BF16 are read; others, as integers of positions, are left out.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _MAX_HEADER:
            raise ConversionError(f"{path.name} is not a safetensors file")
        try:
            header = json.loads(file.read(length))
        except ValueError:
            raise ConversionError(f"{path.name} has a faulty header") from None
    header.pop("__metadata__", None)
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + length)
    try:
        return {
            name: _tensor(data, about) for name, about in header.items() if about["dtype"] in _TYPES
        }
    except (KeyError, TypeError, ValueError):
        raise ConversionError(f"{path.name} has a faulty header") from None


def _tensor(data: np.ndarray[Any, Any], about: dict[str, Any]) -> np.ndarray[Any, Any]:
    start, end = about["data_offsets"]
    stored = np.dtype(_TYPES[about["dtype"]])
    if not 0 <= start <= end <= len(data):
        raise ValueError("data_offsets")
    if end - start != math.prod(about["shape"]) * stored.itemsize:
        raise ValueError("shape")
    raw = data[start:end].view(stored).reshape(about["shape"])
    if about["dtype"] == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32)
