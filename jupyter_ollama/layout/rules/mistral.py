"""Mistral 3, with or without its Pixtral tower."""

from __future__ import annotations

from ..convert import interleave_rotary, to_float32
from ..pieces import f32, string
from ..view import View
from ..virtual_file import TensorView
from .rule import Rule, copy_vision, describe_projector, has_tower, hide_towers

_MEAN = (0.48145467, 0.4578275, 0.40821072)
_STD = (0.26862955, 0.26130259, 0.2757771)


def _is_mistral3(view: View) -> bool:
    return has_tower(view) or view.has(
        "rope.scaling.beta_fast", "rope.scaling.mscale_all_dim", "rope.scaling_beta"
    )


def _mistral3(view: View) -> None:
    view.copy("rope.scaling.beta_fast", "rope.scaling.yarn_beta_fast")
    view.copy("rope.scaling.beta_slow", "rope.scaling.yarn_beta_slow")
    view.copy("rope.scaling.mscale_all_dim", "rope.scaling.yarn_log_multiplier")
    view.copy("rope.scaling_beta", "attention.temperature_scale")
    if view.get("tokenizer.ggml.pre") in (None, "", "default"):
        view.set("tokenizer.ggml.pre", string("tekken"))
    hide_towers(view)


def _pixtral(view: View) -> None:
    copy_vision(view, "feed_forward_length", "image_size", "num_channels")
    view.copy("spatial_merge_size", "clip.vision.spatial_merge_size")
    view.copy("vision.rope.freq_base", "clip.rope.freq_base")
    view.default("clip.vision.attention.layer_norm_epsilon", f32(1e-5))
    describe_projector(view, "pixtral", mean=_MEAN, std=_STD, activation="silu")
    heads = view.integer("vision.attention.head_count")
    for block in view.blocks("v."):
        for part in ("attn_q", "attn_k"):
            interleave_rotary(view, f"v.blk.{block}.{part}.weight", heads)
    view.substitute(
        ("v.patch_conv", "v.patch_embd"),
        ("v.encoder_norm", "v.pre_ln"),
        (".attn_output", ".attn_out"),
        (".attn_norm", ".ln1"),
        (".ffn_norm", ".ln2"),
        ("mm.linear_1", "mm.1"),
        ("mm.linear_2", "mm.2"),
        ("mm.patch_merger.merging_layer", "mm.patch_merger"),
        ("mm.norm", "mm.input_norm"),
    )
    to_float32(view, "v.patch_embd.weight")
    # libmtmd requires a vector for the end of each row of patches; published models have none.
    width = view.integer("embedding_length")
    zeros = bytes(4 * width)
    view.put(TensorView("v.token_embd.img_break", (width,), "F32", (zeros,)))


RULES = (Rule(("mistral3",), _is_mistral3, _mistral3, _pixtral),)
