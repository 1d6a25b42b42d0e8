"""Small GGUF files of two tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf_files
import numpy as np

TOKENS = ["<unk>", "<s>", "</s>", "a", "b", "é"]


def write_gguf(path: Path, architecture: str = "llama", **metadata: Any) -> Path:
    """Write a file of two tensors; ``__`` in the name of a metadata key stands for a dot."""
    keys = {name.replace("__", "."): value for name, value in metadata.items()}
    tensors = {
        "token_embd.weight": np.arange(6 * 32, dtype=np.float32).reshape(6, 32),
        "output_norm.weight": np.ones(32, dtype=np.float16),
    }
    return gguf_files.write(path, architecture, keys, tensors)
