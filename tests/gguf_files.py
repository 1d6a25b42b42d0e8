"""Writing GGUF files with the gguf package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
from numpy.typing import NDArray


def write(
    path: Path, architecture: str, keys: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
) -> Path:
    """Write a file; keys with a dot in front are the architecture's own."""
    writer = gguf.GGUFWriter(path, architecture)
    add_keys(writer, {f"{architecture}{key}" if key[0] == "." else key: keys[key] for key in keys})
    return finish(writer, tensors)


def add_keys(writer: gguf.GGUFWriter, keys: Mapping[str, Any]) -> None:
    """Add metadata in the type that each value has; integers have 32 bits without a sign."""
    for key, value in keys.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)


def finish(writer: gguf.GGUFWriter, tensors: Mapping[str, NDArray[Any]]) -> Path:
    """Add tensors, write all to the file and close it."""
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(writer.path)
