"""A small recurrent model with random weights, for the behaviour of such models."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf_files import finish
from numpy.typing import NDArray

WIDTH, INNER, STATE, RANK, KERNEL = 256, 512, 64, 4, 4
LAYERS = 2
WORDS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
"""A vocabulary of bytes."""


def add_words(writer: gguf.GGUFWriter) -> None:
    """Add the vocabulary of WORDS: unknown, begin, end, and the bytes."""
    writer.add_tokenizer_model("llama")
    writer.add_token_list(WORDS)
    writer.add_token_scores([0.0] * len(WORDS))
    writer.add_token_types([2, 3, 3, *([6] * 256)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def write_recurrent(path: Path) -> Path:
    """Write a GGUF of the architecture "mamba": two layers, a vocabulary of bytes."""
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(LAYERS)
    writer.add_ssm_conv_kernel(KERNEL)
    writer.add_ssm_inner_size(INNER)
    writer.add_ssm_state_size(STATE)
    writer.add_ssm_time_step_rank(RANK)
    writer.add_layer_norm_rms_eps(1e-5)
    add_words(writer)
    return finish(writer, _tensors())


def _tensors() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)

    def random(*shape: int) -> NDArray[np.float32]:
        return (rng.standard_normal(shape) * 0.1).astype(np.float32)

    tensors = {
        "token_embd.weight": random(len(WORDS), WIDTH),
        "output_norm.weight": np.ones(WIDTH, np.float32),
    }
    for layer in range(LAYERS):
        of_layer = {
            "attn_norm.weight": np.ones(WIDTH, np.float32),
            "ssm_in.weight": random(2 * INNER, WIDTH),
            "ssm_conv1d.weight": random(INNER, KERNEL),
            "ssm_conv1d.bias": random(INNER),
            "ssm_x.weight": random(RANK + 2 * STATE, INNER),
            "ssm_dt.weight": random(INNER, RANK),
            "ssm_dt.bias": random(INNER),
            "ssm_a": -np.abs(random(INNER, STATE)),
            "ssm_d": random(INNER),
            "ssm_out.weight": random(WIDTH, INNER),
        }
        tensors |= {f"blk.{layer}.{name}": weights for name, weights in of_layer.items()}
    return tensors
