"""Small projectors that hear, with random weights, for the language models of tiny_vision.

"gemma4ua" makes one token of each 40 ms of a sound, "qwen2a" 750 of each half minute.
"""

from __future__ import annotations

from pathlib import Path

import gguf_files
import numpy as np
import tiny_vision
from tiny_vision import WIDTH, Random, Tensors, Values

KINDS = ("gemma4ua", "qwen2a")

EAR_WIDTH, EAR_HEADS, EAR_INNER = 32, 2, 64
"""Of "qwen2a", which has one layer."""

FRAME = 640
"""Samples that "gemma4ua" makes a token of, at 16 kHz."""

MEL_BINS = 16
FRAMES = 1500
"""Positions of the encoder of "qwen2a": half as many as there are spectra in its window."""


def write_projector(path: Path, kind: str, sees: str = "", width: int = WIDTH) -> Path:
    """Write a projector for sounds, and for images too if ``sees`` is a kind of tiny_vision.

    ``width`` is the size of the language model's embeddings.
    """
    values = {**_values(kind, width), "clip.audio.projector_type": kind}
    tensors = _tensors(kind, width)
    if sees:
        values |= tiny_vision.projector_values(sees, width)
        values["clip.vision.projector_type"] = sees
        tensors |= tiny_vision.projector_tensors(sees, width)
    return gguf_files.write(path, "clip", values, tensors)


def _values(kind: str, width: int) -> Values:
    encodes = kind == "qwen2a"
    return {
        "clip.has_audio_encoder": True,
        "clip.audio.embedding_length": EAR_WIDTH if encodes else width,
        "clip.audio.feed_forward_length": EAR_INNER if encodes else 0,
        "clip.audio.block_count": int(encodes),
        "clip.audio.attention.head_count": EAR_HEADS if encodes else 0,
        "clip.audio.attention.layer_norm_epsilon": 1e-5,
        "clip.audio.projection_dim": width,
        "clip.audio.num_mel_bins": MEL_BINS if encodes else FRAME,
    }


def _tensors(kind: str, width: int) -> Tensors:
    random = Random(2, 0.2)
    if kind == "gemma4ua":
        return {"mm.a.input_projection.weight": random(width, FRAME)}
    ones, zeros = np.ones(EAR_WIDTH, np.float32), np.zeros(EAR_WIDTH, np.float32)
    tensors = {
        "a.conv1d.1.weight": random(EAR_WIDTH, MEL_BINS, 3),
        "a.conv1d.1.bias": random(EAR_WIDTH, 1),
        "a.conv1d.2.weight": random(EAR_WIDTH, EAR_WIDTH, 3),
        "a.conv1d.2.bias": random(EAR_WIDTH, 1),
        "a.position_embd.weight": random(FRAMES, EAR_WIDTH),
        "a.blk.0.ffn_up.weight": random(EAR_INNER, EAR_WIDTH),
        "a.blk.0.ffn_down.weight": random(EAR_WIDTH, EAR_INNER),
        "mm.a.fc.weight": random(width, EAR_WIDTH),
        "mm.a.fc.bias": random(width),
    }
    for norm in ("blk.0.ln1", "blk.0.ln2", "post_ln"):
        tensors |= {f"a.{norm}.weight": ones, f"a.{norm}.bias": zeros}
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        tensors[f"a.blk.0.{name}.weight"] = random(EAR_WIDTH, EAR_WIDTH)
    for name in ("attn_q", "attn_v", "attn_out"):
        tensors[f"a.blk.0.{name}.bias"] = random(EAR_WIDTH)
    return tensors
