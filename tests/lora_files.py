"""LoRA adapters with random weights, as GGUF files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from jupyter_ollama.library.gguf import read_header

RANK = 4


def write_lora(
    model: Path,
    path: Path,
    *,
    seed: int = 1,
    tensor: str = "blk.0.attn_q.weight",
    alpha: float = 64,
) -> Path:
    """Write an adapter of rank 4 for one matrix of a model, of the strength ``alpha``."""
    tensors = {tensor.name: tensor for tensor in read_header(model).tensors}
    inputs, outputs = tensors[tensor].shape
    rng = np.random.default_rng(seed)
    writer = GGUFWriter(path, read_header(model).architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, shape in (("lora_a", (RANK, inputs)), ("lora_b", (outputs, RANK))):
        writer.add_tensor(f"{tensor}.{name}", rng.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
