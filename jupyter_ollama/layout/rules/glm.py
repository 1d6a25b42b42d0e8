"""GLM-4.7 Flash and GLM-OCR."""

from __future__ import annotations

from ..convert import to_float32
from ..pieces import string, u32
from ..view import View
from .rule import Rule, always, copy_vision, describe_projector, four_sections, hide_towers


def _glm4_moe_lite(view: View) -> None:
    key_length = view.integer("attention.key_length")
    view.become("deepseek2")
    rank = view.integer("attention.kv_lora_rank")
    view.set("attention.head_count_kv", u32(1))
    view.set("attention.key_length", u32(rank + view.integer("rope.dimension_count")))
    view.set("attention.value_length", u32(rank))
    view.set("attention.key_length_mla", u32(key_length))
    view.set("attention.value_length_mla", u32(key_length))
    view.default("expert_group_count", u32(1))
    view.default("expert_group_used_count", u32(1))
    view.set("tokenizer.ggml.pre", string("glm4"))
    ends = view.integers("tokenizer.ggml.eos_token_ids", [])
    for key, place in (("eot", 1), ("eom", 2)):
        if len(ends) > place:
            view.default(f"tokenizer.ggml.{key}_token_id", u32(ends[place]))


def _glm_ocr(view: View) -> None:
    view.become("glm4")
    sections = four_sections(view, "rope.mrope_section")
    if sections is not None:
        view.set("rope.dimension_sections", sections)
    view.copy("attention.key_length", "rope.dimension_count")
    if view.has("tokenizer.ggml.pre"):
        view.set("tokenizer.ggml.pre", string("chatglm-bpe"))
    hide_towers(view)
    view.substitute(
        (".attn_out.", ".attn_output."),
        (".post_attn_norm.", ".post_attention_norm."),
        (".post_ffn_norm.", ".post_ffw_norm."),
    )
    for block in view.blocks():
        gate, up = (f"blk.{block}.ffn_{part}.weight" for part in ("gate", "up"))
        if gate in view.tensors and up in view.tensors:
            view.concatenate(up, gate, up)
        view.hide(f"blk.{block}.ffn_gate.")


def _glm_ocr_clip(view: View) -> None:
    view.copy("vision.out_hidden_size", "clip.vision.projection_dim")
    copy_vision(view, "image_size", "spatial_merge_size", "image_mean", "image_std")
    view.copy("vision.intermediate_size", "clip.vision.feed_forward_length")
    view.copy("vision.attention.layer_norm_rms_epsilon", "clip.vision.attention.layer_norm_epsilon")
    describe_projector(view, "glm4v", activation="silu")
    view.rename("v.patch_embd_0.weight", "v.patch_embd.weight")
    view.rename("v.patch_embd_1.weight", "v.patch_embd.weight.1")
    to_float32(view, "v.patch_embd.weight", "v.patch_embd.weight.1")


RULES = (
    Rule(("glm4moelite",), always, _glm4_moe_lite),
    Rule(("glmocr",), always, _glm_ocr, _glm_ocr_clip),
)
