"""Small models with a head that predicts further tokens ("nextn" in llama.cpp).

The layers add little to their input: the last token mostly decides about the next one,
and the head knows how. So many of its drafts are right, and some are not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf_files import add_keys, finish
from numpy.typing import NDArray
from tiny_recurrent import WORDS

LAYERS, FEED, CONTEXT = 4, 128, 4096
HEADS, HEAD = 4, 32
WEAK = 0.01
"""The factor of a layer's output that is added to its input."""

Arrays = dict[str, NDArray[np.float32]]


class _Weights:
    """Random matrices, the same each time."""

    def __init__(self, width: int, weak: float) -> None:
        self.width = width
        self._weak = weak
        self._generator = np.random.default_rng(7)

    def random(self, *shape: int) -> NDArray[np.float32]:
        return (self._generator.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)

    def weak(self, *shape: int) -> NDArray[np.float32]:
        return self.random(*shape) * np.float32(self._weak)

    def ones(self, count: int | None = None) -> NDArray[np.float32]:
        return np.ones(count or self.width, np.float32)

    def feed_forward(self) -> Arrays:
        return {
            "ffn_gate.weight": self.random(FEED, self.width),
            "ffn_up.weight": self.random(FEED, self.width),
            "ffn_down.weight": self.weak(self.width, FEED),
        }

    def head(self) -> Arrays:
        """The tensors that make a layer a head: it uses the token and a small part of the state."""
        through = np.concatenate((np.eye(self.width), self.weak(self.width, self.width)), axis=1)
        return {
            "nextn.eh_proj.weight": through.astype(np.float32),
            "nextn.enorm.weight": self.ones(),
            "nextn.hnorm.weight": self.ones(),
            "nextn.shared_head_norm.weight": self.ones(),
        }


def write_qwen35(path: Path, *, width: int = 64, layers: int = LAYERS, weak: float = WEAK) -> Path:
    """Write a hybrid model: every other layer has states, the others and the head attention."""
    make = _Weights(width, weak)
    states = {"conv_kernel": 4, "state_size": 16, "group_count": 2, "time_step_rank": 4}
    keys: dict[str, Any] = {
        "attention.layer_norm_rms_epsilon": 1e-6,
        "full_attention_interval": 2,
        "rope.dimension_count": 16,
        "rope.dimension_sections": [3, 3, 2, 0],
        "ssm.inner_size": 64,
        **{f"ssm.{name}": value for name, value in states.items()},
    }
    blocks: list[Arrays] = []
    for layer in range(layers + 1):
        block = {
            "attn_norm.weight": make.ones(),
            "post_attention_norm.weight": make.ones(),
            **make.feed_forward(),
        }
        if layer == layers or layer % 2:
            block |= _attention(make, query=2)
            block |= {"attn_q_norm.weight": make.ones(HEAD), "attn_k_norm.weight": make.ones(HEAD)}
        else:
            block |= {
                "attn_qkv.weight": make.random(128, width),
                "attn_gate.weight": make.random(64, width),
                "ssm_conv1d.weight": make.random(128, 4),
                "ssm_dt.bias": make.random(4),
                "ssm_a": -np.abs(make.random(4)),
                "ssm_alpha.weight": make.random(4, width),
                "ssm_beta.weight": make.random(4, width),
                "ssm_norm.weight": make.ones(16),
                "ssm_out.weight": make.weak(width, 64),
            }
        blocks.append(block)
    return _write(path, "qwen35", make, keys, blocks)


def write_glm4moe(path: Path, *, width: int = 64, layers: int = LAYERS, weak: float = WEAK) -> Path:
    """Write a model of experts with plain attention in all layers."""
    make = _Weights(width, weak)
    keys = {
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.dimension_count": 16,
        "leading_dense_block_count": 1,
        "expert_count": 4,
        "expert_used_count": 2,
        "expert_shared_count": 1,
        "expert_feed_forward_length": FEED,
        "expert_weights_scale": 1.0,
        "expert_weights_norm": True,
        "expert_gating_func": 2,
    }
    blocks: list[Arrays] = []
    for layer in range(layers + 1):
        block = {
            "attn_norm.weight": make.ones(),
            "post_attention_norm.weight": make.ones(),
            **_attention(make),
        }
        if layer:
            block |= {
                "ffn_gate_inp.weight": make.random(4, width),
                "exp_probs_b.bias": np.zeros(4, np.float32),
                "ffn_gate_exps.weight": make.random(4, FEED, width),
                "ffn_up_exps.weight": make.random(4, FEED, width),
                "ffn_down_exps.weight": make.weak(4, width, FEED),
                "ffn_gate_shexp.weight": make.random(FEED, width),
                "ffn_up_shexp.weight": make.random(FEED, width),
                "ffn_down_shexp.weight": make.weak(width, FEED),
            }
        else:
            block |= make.feed_forward()
        blocks.append(block)
    return _write(path, "glm4moe", make, keys, blocks)


def _attention(make: _Weights, query: int = 1) -> Arrays:
    return {
        "attn_q.weight": make.random(query * HEADS * HEAD, make.width),
        "attn_k.weight": make.random(HEAD, make.width),
        "attn_v.weight": make.random(HEAD, make.width),
        "attn_output.weight": make.weak(make.width, HEADS * HEAD),
    }


def _write(
    path: Path, architecture: str, make: _Weights, keys: dict[str, Any], blocks: list[Arrays]
) -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(make.width)
    writer.add_feed_forward_length(FEED)
    writer.add_block_count(len(blocks))
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(1)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_uint32(f"{architecture}.nextn_predict_layers", 1)
    add_keys(writer, {f"{architecture}.{key}": value for key, value in keys.items()})
    writer.add_tokenizer_model("llama")
    writer.add_token_list(WORDS)
    writer.add_token_scores([0.0] * len(WORDS))
    writer.add_token_types([2, 3, 3] + [6] * (len(WORDS) - 3))
    tensors = {
        "token_embd.weight": make.random(len(WORDS), make.width),
        "output.weight": make.random(len(WORDS), make.width),
        "output_norm.weight": make.ones(),
    }
    # No answer ends by itself.
    tensors["output.weight"][:3] = 0
    blocks[-1] |= make.head()
    for number, block in enumerate(blocks):
        tensors |= {f"blk.{number}.{name}": weights for name, weights in block.items()}
    halved = {
        name: weights.astype(np.float16)
        for name, weights in tensors.items()
        if weights.ndim > 1 and "conv1d" not in name and "gate_inp" not in name
    }
    return finish(writer, {**tensors, **halved})
