"""Small models with random weights in rows of 256 and more, as all types of weights need them."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from gguf_files import finish
from numpy.typing import NDArray
from tiny_recurrent import WORDS, add_words

from jupyter_ollama.engine.quantize import main as quantize

WIDTH, FEED, LAYERS = 256, 512, 2
HEADS, KEYS, HEAD = 4, 2, 64
EXPERTS, USED = 8, 2


def write_wide(path: Path, kind: str, *, experts: bool = False) -> Path:
    """Write a GGUF of the architecture "llama" with weights of a type such as Q4_K_M."""
    source = path.with_suffix(".f16")
    writer = gguf.GGUFWriter(source, "llama")
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEYS)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    if experts:
        writer.add_expert_count(EXPERTS)
        writer.add_expert_used_count(USED)
    add_words(writer)
    finish(writer, _tensors(experts))
    assert quantize(str(source), str(path), kind) == 0
    source.unlink()
    return path


def _tensors(experts: bool) -> dict[str, NDArray[np.float16] | NDArray[np.float32]]:
    generator = np.random.default_rng(3)

    def random(*shape: int) -> NDArray[np.float16]:
        return (generator.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float16)

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
            "attn_k.weight": random(KEYS * HEAD, WIDTH),
            "attn_v.weight": random(KEYS * HEAD, WIDTH),
            "attn_output.weight": random(WIDTH, HEADS * HEAD),
            "ffn_norm.weight": ones,
        }
        if experts:
            part["ffn_gate_inp.weight"] = random(EXPERTS, WIDTH).astype(np.float32)
            part["ffn_gate_exps.weight"] = random(EXPERTS, FEED, WIDTH)
            part["ffn_up_exps.weight"] = random(EXPERTS, FEED, WIDTH)
            part["ffn_down_exps.weight"] = random(EXPERTS, WIDTH, FEED)
        else:
            part["ffn_gate.weight"] = random(FEED, WIDTH)
            part["ffn_up.weight"] = random(FEED, WIDTH)
            part["ffn_down.weight"] = random(WIDTH, FEED)
        tensors |= {f"blk.{layer}.{name}": weights for name, weights in part.items()}
    return tensors
