"""Small models that see: language models and projectors (mmproj) with random weights.

A projector of each way to decode an image: "gemma3" makes all tokens of an image attend to each
other, "idefics3" cuts an image into slices, "qwen2vl_merger" has positions in two dimensions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import gguf_files
import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.float32]]
Values = dict[str, Any]

WIDTH, LAYERS, HEADS, INNER = 64, 2, 4, 128
"""Of the language models."""

EYE_WIDTH, EYE_HEADS, EYE_INNER = 32, 2, 64
"""Of the projectors, which have one layer."""

MARKS = [
    "<start_of_image>",
    "<end_of_image>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<fake_token_around_image>",
    "<global-img>",
    "<|audio>",
    "<audio|>",
    "<|audio_bos|>",
    "<|audio_eos|>",
]
WORDS = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "\n\n", *MARKS]
"""A vocabulary of bytes and of the tokens that projectors put around images."""

PROJECTORS: dict[str, tuple[int, int, dict[str, int]]] = {
    "gemma3": (32, 4, {"clip.vision.projector.scale_factor": 2}),
    "idefics3": (
        32,
        8,
        {"clip.vision.projector.scale_factor": 2, "clip.vision.preproc_image_size": 64},
    ),
    "qwen2vl_merger": (56, 14, {}),
}
"""Side of an image and of a patch in pixels, and further settings."""


class Random:
    """Weights of a normal distribution, the same in each run."""

    def __init__(self, seed: int, scale: float) -> None:
        self._rng = np.random.default_rng(seed)
        self._scale = scale

    def __call__(self, *shape: int) -> NDArray[np.float32]:
        return (self._rng.standard_normal(shape) * self._scale).astype(np.float32)


def write_language_model(path: Path, architecture: str = "llama") -> Path:
    """Write a model of two layers: "llama", or "qwen2vl" with its positions in sections."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    if architecture == "qwen2vl":
        writer.add_rope_dimension_sections([2, 3, 3, 0])
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(WORDS)
    writer.add_token_scores([0.0] * len(WORDS))
    writer.add_token_types([2, 3, 3, *([6] * 256), 1, *([3] * len(MARKS))])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(False)
    return gguf_files.finish(writer, _language_tensors())


def _language_tensors() -> Tensors:
    random = Random(0, 0.15)
    ones = np.ones(WIDTH, np.float32)
    tensors = {
        "token_embd.weight": random(len(WORDS), WIDTH),
        "output_norm.weight": ones,
        "output.weight": random(len(WORDS), WIDTH),
    }
    for layer in range(LAYERS):
        of_layer = {
            "attn_norm.weight": ones,
            "attn_q.weight": random(WIDTH, WIDTH),
            "attn_k.weight": random(WIDTH, WIDTH),
            "attn_v.weight": random(WIDTH, WIDTH),
            "attn_q.bias": random(WIDTH),
            "attn_k.bias": random(WIDTH),
            "attn_v.bias": random(WIDTH),
            "attn_output.weight": random(WIDTH, WIDTH),
            "ffn_norm.weight": ones,
            "ffn_gate.weight": random(INNER, WIDTH),
            "ffn_up.weight": random(INNER, WIDTH),
            "ffn_down.weight": random(WIDTH, INNER),
        }
        tensors |= {f"blk.{layer}.{name}": weights for name, weights in of_layer.items()}
    return tensors


def write_projector(path: Path, kind: str, width: int = WIDTH) -> Path:
    """Write a projector for language models whose embeddings have ``width`` values."""
    values = {**projector_values(kind, width), "clip.projector_type": kind}
    return gguf_files.write(path, "clip", values, projector_tensors(kind, width))


def projector_values(kind: str, width: int) -> Values:
    """Return the metadata of a projector, without the type."""
    side, patch, others = PROJECTORS[kind]
    return {
        "clip.has_vision_encoder": True,
        "clip.use_gelu": True,
        "clip.vision.attention.layer_norm_epsilon": 1e-6,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
        "clip.vision.image_size": side,
        "clip.vision.patch_size": patch,
        "clip.vision.embedding_length": EYE_WIDTH,
        "clip.vision.feed_forward_length": EYE_INNER,
        "clip.vision.block_count": 1,
        "clip.vision.attention.head_count": EYE_HEADS,
        "clip.vision.projection_dim": width,
        **others,
    }


def projector_tensors(kind: str, width: int) -> Tensors:
    """Return the weights of a projector."""
    side, patch, _ = PROJECTORS[kind]
    random = Random(1, 0.2)
    ones, zeros = np.ones(EYE_WIDTH, np.float32), np.zeros(EYE_WIDTH, np.float32)
    tensors = {"v.patch_embd.weight": random(EYE_WIDTH, 3, patch, patch)}
    for norm in ("blk.0.ln1", "blk.0.ln2", "post_ln"):
        tensors |= {f"v.{norm}.weight": ones, f"v.{norm}.bias": zeros}
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        tensors[f"v.blk.0.{name}.weight"] = random(EYE_WIDTH, EYE_WIDTH)
        tensors[f"v.blk.0.{name}.bias"] = random(EYE_WIDTH)
    tensors["v.blk.0.ffn_up.weight"] = random(EYE_INNER, EYE_WIDTH)
    tensors["v.blk.0.ffn_down.weight"] = random(EYE_WIDTH, EYE_INNER)
    if kind == "qwen2vl_merger":
        merged = 4 * EYE_WIDTH
        tensors["v.patch_embd.weight.1"] = random(EYE_WIDTH, 3, patch, patch)
        tensors |= {"mm.0.weight": random(merged, merged), "mm.0.bias": random(merged)}
        tensors |= {"mm.2.weight": random(width, merged), "mm.2.bias": random(width)}
        return tensors
    tensors["v.patch_embd.bias"] = random(EYE_WIDTH)
    tensors["v.position_embd.weight"] = random((side // patch) ** 2, EYE_WIDTH)
    if kind == "gemma3":
        tensors["mm.input_projection.weight"] = random(EYE_WIDTH, width)
        tensors["mm.soft_emb_norm.weight"] = ones
    else:
        tensors["mm.model.fc.weight"] = random(width, 4 * EYE_WIDTH)
    return tensors
