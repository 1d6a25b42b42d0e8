"""Small GGUF files for tests, written by the gguf package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

TOKENS = ["<unk>", "<s>", "</s>", "a", "b", "é"]


def write_gguf(path: Path, architecture: str = "llama", **metadata: Any) -> Path:
    """Write a file of two tensors; ``__`` in the name of a metadata key stands for a dot."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in metadata.items():
        key = name.replace("__", ".")
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, list):
            writer.add_array(key, value)
        else:
            writer.add_string(key, value)
    writer.add_tensor("token_embd.weight", np.arange(6 * 32, dtype=np.float32).reshape(6, 32))
    writer.add_tensor("output_norm.weight", np.ones(32, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
