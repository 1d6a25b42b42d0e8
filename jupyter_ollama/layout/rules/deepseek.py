"""DeepSeek-OCR."""

from __future__ import annotations

from ..convert import to_float32
from ..errors import LayoutError
from ..pieces import f32, u32
from ..view import View
from .rule import HALF, TOWERS, Rule, always, copy_vision, describe_projector


def _deepseek_ocr(view: View) -> None:
    view.become("deepseek2-ocr")
    view.default("attention.layer_norm_rms_epsilon", f32(1e-6))
    if not view.has("expert_feed_forward_length"):
        view.set("expert_feed_forward_length", u32(view.dimension("blk.1.ffn_down_exps.weight", 0)))
    if not view.has("expert_shared_count"):
        inner = view.integer("expert_feed_forward_length")
        if not inner:
            raise LayoutError(f"{view.full_key('expert_feed_forward_length')} is 0")
        shared = view.dimension("blk.1.ffn_down_shexp.weight", 0)
        view.set("expert_shared_count", u32(shared // inner))
    view.hide(*TOWERS, "s.")


def _deepseek_ocr_clip(view: View) -> None:
    view.copy("vision.head_count", "clip.vision.attention.head_count")
    view.default("clip.vision.projection_dim", u32(1280))
    copy_vision(view, "image_size")
    for key in ("block_count", "embedding_length", "head_count"):
        view.copy(f"sam.{key}", f"clip.vision.sam.{key}")
    view.default("clip.vision.feed_forward_length", u32(64))
    view.default("clip.vision.projector.scale_factor", u32(1))
    view.default("clip.vision.window_size", u32(14))
    view.default("clip.vision.attention.layer_norm_epsilon", f32(1e-6))
    describe_projector(view, "deepseekocr", mean=HALF, std=HALF, activation="gelu")
    view.rename_keys("s.", "v.sam.")
    view.rename("v.sam.position_embd", "v.sam.pos_embd.weight")
    view.substitute(
        (".self_attn.out_proj", ".attn_out"),
        (".self_attn.qkv_proj", ".attn_qkv"),
        (".layer_norm1", ".ln1"),
        (".layer_norm2", ".ln2"),
        (".mlp.fc1", ".ffn_up"),
        (".mlp.fc2", ".ffn_down"),
        ("v.pre_layrnorm", "v.pre_ln"),
        (".attn.proj", ".attn.out"),
        (".attn.rel_pos_h", ".attn.pos_h.weight"),
        (".attn.rel_pos_w", ".attn.pos_w.weight"),
        (".norm1", ".pre_ln"),
        (".norm2", ".post_ln"),
        ("mm.layers", "mm.model.fc"),
        ("mm.image_newline", "v.image_newline"),
        ("mm.view_seperator", "v.view_seperator"),
    )
    to_float32(view, "v.patch_embd.weight", "v.sam.patch_embd.weight", "v.position_embd.weight")


RULES = (Rule(("deepseekocr",), always, _deepseek_ocr, _deepseek_ocr_clip),)
