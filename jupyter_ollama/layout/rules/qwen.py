"""Qwen 2.5-VL, Qwen 3-VL, Qwen 3-Next and Qwen 3.5."""

from __future__ import annotations

import math

from ..convert import join_qkv, split_frames, to_float32
from ..pieces import booleans, f32, i32s, u32
from ..view import View
from . import qwen_mtp
from .rule import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    TOWERS,
    Rule,
    always,
    copy_vision,
    describe_projector,
    four_sections,
    hide_towers,
    largest,
)

_TOWER_NAMES = (
    (".mlp.linear_fc1", ".ffn_up"),
    (".mlp.linear_fc2", ".ffn_down"),
    (".norm1", ".ln1"),
    (".norm2", ".ln2"),
)
_SECTIONS_OF_QWEN3_VL = (24, 20, 20, 0)


def _qwen25_vl(view: View) -> None:
    view.become("qwen2vl")
    sections = four_sections(view, "rope.mrope_section")
    if sections is not None:
        view.set("rope.dimension_sections", sections)
    hide_towers(view)


def _qwen25_vl_clip(view: View) -> None:
    copy_vision(
        view, "attention.layer_norm_epsilon", "num_channels", "spatial_merge_size", "window_size"
    )
    if not view.has("clip.vision.feed_forward_length"):
        inner = view.dimension("v.blk.0.ffn_up.weight", 1)
        view.set("clip.vision.feed_forward_length", u32(inner))
    full = view.integers("vision.fullatt_block_indexes", [])
    view.default("clip.vision.n_wa_pattern", u32(full[0] + 1 if full else 8))
    view.default("clip.vision.image_size", u32(560))
    describe_projector(view, "qwen2.5vl_merger", mean=CLIP_MEAN, std=CLIP_STD, activation="silu")
    view.rename("v.merger.ln_q.weight", "v.post_ln.weight")
    view.rename_keys("v.merger.mlp.", "mm.")
    view.rename("v.patch_embd_0.weight", "v.patch_embd.weight")
    view.rename("v.patch_embd_1.weight", "v.patch_embd.weight.1")
    to_float32(view, "v.patch_embd.weight", "v.patch_embd.weight.1")


def _lacks_sections(view: View) -> bool:
    return not view.has("rope.dimension_sections")


def _qwen3_vl(view: View) -> None:
    view.set("rope.dimension_sections", i32s(_SECTIONS_OF_QWEN3_VL))
    layers = len(view.integers("vision.deepstack_visual_indexes", []))
    view.default("n_deepstack_layers", u32(layers))
    hide_towers(view)


def _qwen3_vl_clip(view: View) -> None:
    copy_vision(
        view,
        "attention.layer_norm_epsilon",
        "num_channels",
        "spatial_merge_size",
        "temporal_patch_size",
        "rope.freq_base",
        "image_mean",
        "image_std",
    )
    view.copy("vision.shortest_edge", "clip.vision.image_min_pixels")
    view.copy("vision.longest_edge", "clip.vision.image_max_pixels")
    view.default("clip.vision.num_channels", u32(3))
    view.default("clip.vision.temporal_patch_size", u32(2))
    view.default("clip.vision.rope.freq_base", f32(1e4))
    view.default("clip.vision.image_min_pixels", u32(65536))
    view.default("clip.vision.image_max_pixels", u32(16777216))
    if not view.has("clip.vision.feed_forward_length"):
        inner = view.dimension("v.blk.0.mlp.linear_fc1.weight", 1)
        view.set("clip.vision.feed_forward_length", u32(inner))
    if not view.has("clip.vision.image_size"):
        side = math.isqrt(view.dimension("v.pos_embed.weight", 1))
        view.set("clip.vision.image_size", u32(side * view.integer("vision.patch_size")))
    indexes = view.integers("vision.deepstack_visual_indexes", [])
    _mark_deepstack(view, indexes)
    describe_projector(view, "qwen3vl_merger", mean=HALF, std=HALF, activation="gelu")
    for number, index in enumerate(indexes):
        for part, new in (("norm", "norm"), ("linear_fc1", "fc1"), ("linear_fc2", "fc2")):
            view.rename_keys(f"v.deepstack_merger.{number}.{part}.", f"v.deepstack.{index}.{new}.")
    _merge_tower(view, as_float32=True)


def _mark_deepstack(view: View, indexes: list[int]) -> None:
    """Set the blocks whose features libmtmd passes to the language model (DeepStack)."""
    blocks = min(view.integer("clip.vision.block_count"), len(view.tensors))
    view.default(
        "clip.vision.is_deepstack_layers", booleans([block in indexes for block in range(blocks)])
    )


def _merge_tower(view: View, *, as_float32: bool = False) -> None:
    """Name the tensors of the tower, join queries, keys and values, and split the frames."""
    for block in view.blocks("v."):
        join_qkv(view, f"v.blk.{block}.", as_float32=as_float32)
    channels = view.integer("clip.vision.num_channels", 3)
    split_frames(view, "v.patch_embed.weight", "v.patch_embd.weight", channels)
    view.substitute(
        ("v.pos_embed", "v.position_embd"),
        ("v.patch_embed", "v.patch_embd"),
        ("v.merger.norm", "v.post_ln"),
        ("v.merger.linear_fc1", "mm.0"),
        ("v.merger.linear_fc2", "mm.2"),
        *_TOWER_NAMES,
    )
    to_float32(view, "v.position_embd.weight")


def _is_qwen35(view: View) -> bool:
    return (
        view.has("vision.block_count", "image_token_id")
        or view.has("ssm.v_head_reordered", "rope.mrope_interleaved")
        or view.has_tensor("mtp.", "v.")
        or (view.architecture == "qwen35moe" and view.has("feed_forward_length"))
    )


def _qwen35(view: View) -> None:
    _one_kv_head_count(view, least=2)
    if len(view.integers("rope.dimension_sections", [])) == 3:
        sections = four_sections(view, "rope.dimension_sections")
        assert sections is not None
        view.set("rope.dimension_sections", sections)
    for block in view.blocks():
        view.rename(f"blk.{block}.ssm_dt", f"blk.{block}.ssm_dt.bias")
    qwen_mtp.translate(view)
    view.hide(*TOWERS, "mtp.")


def _one_kv_head_count(view: View, least: int) -> None:
    """Replace the numbers of key-value heads of the layers by the largest of them."""
    if view.is_array("attention.head_count_kv"):
        view.set("attention.head_count_kv", u32(largest(view, "attention.head_count_kv", least)))


def _qwen35_clip(view: View) -> None:
    copy_vision(view, "spatial_merge_size", "num_channels")
    view.default("clip.vision.feed_forward_length", u32(4304))
    view.default("clip.vision.image_size", u32(768))
    view.default("clip.vision.attention.layer_norm_epsilon", f32(1e-6))
    _mark_deepstack(view, [])
    describe_projector(view, "qwen3vl_merger", mean=HALF, std=HALF, activation="gelu")
    _merge_tower(view)


def _has_old_ssm_dt(view: View) -> bool:
    return any(name.endswith(".ssm_dt") for name in view.tensors)


def _qwen3_next(view: View) -> None:
    _one_kv_head_count(view, least=0)
    for name in [name for name in view.tensors if name.endswith(".ssm_dt")]:
        view.rename(name, f"{name}.bias")


RULES = (
    Rule(("qwen25vl",), always, _qwen25_vl, _qwen25_vl_clip),
    Rule(("qwen3vl", "qwen3vlmoe"), _lacks_sections, _qwen3_vl, _qwen3_vl_clip),
    Rule(("qwen35", "qwen35moe"), _is_qwen35, _qwen35, _qwen35_clip),
    Rule(("qwen3next",), _has_old_ssm_dt, _qwen3_next),
)
