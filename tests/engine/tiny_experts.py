"""Models with routed experts and random weights."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf_files import add_keys, finish
from numpy.typing import NDArray
from tiny_recurrent import WORDS, add_words

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
    add_words(writer)
    return finish(writer, _tensors())


def write_gemma4_experts(source: Path, path: Path) -> Path:
    """Write the text part of a Gemma 4 in Ollama's layout with experts beside its dense layers.

    The gate and the up matrices are tensors of their own, and the scales are named as in the file
    of Ollama's: loading merges and renames them.
    """
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(path, "gemma4")
    for name, field in reader.fields.items():
        if not name.startswith(("GGUF.", "general.arch", "gemma4.vision.", "gemma4.audio.")):
            sub_type = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type)
    keys = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 32}
    add_keys(writer, {f"gemma4.{key}": value for key, value in keys.items()})
    generator = np.random.default_rng(7)
    for tensor in reader.tensors:
        if tensor.name.startswith(("v.", "a.", "mm.")):
            continue
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        if not tensor.name.endswith("ffn_gate.weight"):
            continue
        width = int(tensor.shape[0])
        part = {
            "ffn_gate_inp.weight": (4, width),
            "ffn_gate_exps.weight": (4, 32, width),
            "ffn_up_exps.weight": (4, 32, width),
            "ffn_down_exps.weight": (4, width, 32),
            "ffn_gate_inp.scale": (width,),
            "ffn_gate_inp.per_expert_scale": (4,),
            "pre_ffw_norm_2.weight": (width,),
            "post_ffw_norm_1.weight": (width,),
            "post_ffw_norm_2.weight": (width,),
        }
        prefix = tensor.name.removesuffix("ffn_gate.weight")
        for name, shape in part.items():
            weights = generator.standard_normal(shape, np.float32) / np.sqrt(shape[-1])
            if len(shape) == 1:
                weights = np.abs(weights) + 1
            writer.add_tensor(f"{prefix}{name}", weights.astype(np.float32))
    return finish(writer, {})


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
