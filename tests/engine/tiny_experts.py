"""A model with routed experts and random weights, most of which its experts are."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf_files import add_keys, finish
from numpy.typing import NDArray
from tiny_recurrent import WORDS

WIDTH, FEED, LAYERS = 256, 512, 6
HEADS, HEAD = 4, 64
EXPERTS, USED = 16, 2
EXPERT_BYTES = EXPERTS * 3 * WIDTH * FEED * 2
"""The bytes of the experts of a layer."""


def write_experts(path: Path) -> Path:
    """Write a GGUF of the architecture "qwen3moe" of 78 MiB, of which experts have 72."""
    writer = gguf.GGUFWriter(path, "qwen3moe")
    keys = {
        "context_length": 4096,
        "embedding_length": WIDTH,
        "feed_forward_length": FEED,
        "expert_feed_forward_length": FEED,
        "block_count": LAYERS,
        "attention.head_count": HEADS,
        "attention.head_count_kv": HEADS,
        "attention.key_length": HEAD,
        "attention.value_length": HEAD,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 1e4,
        "expert_count": EXPERTS,
        "expert_used_count": USED,
    }
    add_keys(writer, {f"qwen3moe.{key}": value for key, value in keys.items()})
    writer.add_tokenizer_model("llama")
    writer.add_token_list(WORDS)
    writer.add_token_scores([0.0] * len(WORDS))
    writer.add_token_types([2, 3, 3, *([6] * 256)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    return finish(writer, _tensors())


def _tensors() -> dict[str, NDArray[np.float16] | NDArray[np.float32]]:
    generator = np.random.default_rng(5)

    def random(*shape: int) -> NDArray[np.float16]:
        weights = generator.standard_normal(shape, np.float32)
        return (weights / np.sqrt(shape[-1])).astype(np.float16)

    ones = np.ones(WIDTH, np.float32)
    tensors: dict[str, NDArray[np.float16] | NDArray[np.float32]] = {
        "token_embd.weight": random(len(WORDS), WIDTH) * np.float16(4),
        "output.weight": random(len(WORDS), WIDTH),
        "output_norm.weight": ones,
    }
    for layer in range(LAYERS):
        part = {
            "attn_norm.weight": ones,
            "attn_q.weight": random(HEADS * HEAD, WIDTH),
            "attn_k.weight": random(HEADS * HEAD, WIDTH),
            "attn_v.weight": random(HEADS * HEAD, WIDTH),
            "attn_output.weight": random(WIDTH, HEADS * HEAD),
            "attn_q_norm.weight": np.ones(HEAD, np.float32),
            "attn_k_norm.weight": np.ones(HEAD, np.float32),
            "ffn_norm.weight": ones,
            "ffn_gate_inp.weight": random(EXPERTS, WIDTH).astype(np.float32),
            "ffn_gate_exps.weight": random(EXPERTS, FEED, WIDTH),
            "ffn_up_exps.weight": random(EXPERTS, FEED, WIDTH),
            "ffn_down_exps.weight": random(EXPERTS, WIDTH, FEED),
        }
        tensors |= {f"blk.{layer}.{name}": weights for name, weights in part.items()}
    return tensors
