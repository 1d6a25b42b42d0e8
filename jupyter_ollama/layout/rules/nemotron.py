"""Nemotron 3: the hybrid mixture-of-experts models, and the vision model."""

from __future__ import annotations

from ..convert import read_floats, resize_positions, to_float32
from ..errors import LayoutError
from ..pieces import Made, boolean, f32, u32
from ..view import View
from ..virtual_file import TensorView
from .rule import CLIP_MEAN, CLIP_STD, TOWERS, Rule, copy_vision, describe_projector


def _has_latent(view: View) -> bool:
    return view.has_tensor("blk.0.ffn_latent_in", "blk.1.ffn_latent_in", "mtp.")


def _latent_experts(view: View) -> None:
    for block in view.blocks():
        name = f"blk.{block}.ffn_latent_in.weight"
        if name in view.tensors:
            view.default("moe_latent_size", u32(view.dimension(name, 1)))
            break
    view.substitute(
        (".ffn_latent_in", ".ffn_latent_down"),
        (".ffn_latent_out", ".ffn_latent_up"),
    )
    view.hide("mtp.")


def _has_towers(view: View) -> bool:
    return view.has_tensor(*TOWERS, "a.")


def _omni(view: View) -> None:
    has_experts = view.integer("expert_count", 0) or view.integer("expert_used_count", 0)
    view.become("nemotron_h_moe" if has_experts else "nemotron_h", without=("vision.", "audio."))
    view.hide(*TOWERS, "a.")
    if _has_latent(view):
        _latent_experts(view)


def _omni_clip(view: View) -> None:
    copy_vision(
        view,
        "feed_forward_length",
        "attention.layer_norm_epsilon",
        "image_size",
        "num_channels",
        "projector.scale_factor",
        "image_mean",
        "image_std",
        "image_token_id",
        "image_start_token_id",
        "image_end_token_id",
        "max_tiles",
        "min_num_patches",
        "max_num_patches",
    )
    width = view.integer("clip.vision.embedding_length", 1280)
    for key, value in (
        ("block_count", 32),
        ("embedding_length", width),
        ("feed_forward_length", 4 * width),
        ("attention.head_count", 16),
        ("patch_size", 16),
        ("image_size", 512),
        ("num_channels", 3),
        ("projector.scale_factor", 2),
    ):
        view.default(f"clip.vision.{key}", u32(value))
    view.default("clip.vision.attention.layer_norm_epsilon", f32(1e-6))
    describe_projector(
        view,
        "nemotron_v2_vl",
        mean=CLIP_MEAN,
        std=CLIP_STD,
        activation="gelu",
        kind_key="clip.vision.projector_type",
    )
    view.set("clip.has_audio_encoder", boolean(False))
    view.rename("v.cls_embd", "v.class_embd")
    to_float32(view, "v.class_embd")
    patch = view.integer("clip.vision.patch_size")
    if not patch:
        raise LayoutError("the patches of the vision tower have no size")
    side = view.integer("clip.vision.image_size") // patch
    resize_positions(view, "v.position_embd", "v.position_embd.weight", width, side)
    _shape_patches(view, patch, view.integer("clip.vision.num_channels"), width)
    view.rename("mm.norm.weight", "mm.model.mlp.0.weight")
    view.rename("mm.1.weight", "mm.model.mlp.1.weight")
    view.rename("mm.2.weight", "mm.model.mlp.3.weight")


def _shape_patches(view: View, patch: int, channels: int, width: int) -> None:
    """Reshape the flat patch embedding to a convolution: F32 [patch, patch, channels, width]."""
    tensor = view.tensors.get("v.patch_embd.weight")
    count = patch * patch * channels * width
    if tensor is None or tensor.shape != (patch * patch * channels, width):
        return
    made = Made(4 * count, lambda: read_floats(view, tensor).tobytes())
    view.put(TensorView(tensor.name, (patch, patch, channels, width), "F32", (made,)))


RULES = (
    Rule(("nemotron_h_moe",), _has_latent, _latent_experts),
    Rule(("nemotron_h_omni",), _has_towers, _omni, _omni_clip),
)
