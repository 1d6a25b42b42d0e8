"""Llama 3 and Llama 4."""

from __future__ import annotations

from ..pieces import i32s, string, u32
from ..view import View
from .rule import HALF, Rule, copy_vision, describe_projector, has_tower, hide_towers

_EOT, _START_HEADER, _END_OF_TEXT = 128009, 128006, 128001


def _is_llama3(view: View) -> bool:
    if not (_lacks_pre(view) or view.get("tokenizer.ggml.eos_token_id") == _END_OF_TEXT):
        return False
    if (view.source.header.lengths.get("tokenizer.ggml.tokens") or 0) <= _EOT:
        return False
    tokens = view.array("tokenizer.ggml.tokens")
    template = str(view.get("tokenizer.chat_template") or "")
    names_turns = (
        tokens[_START_HEADER] == "<|start_header_id|>"
        or "<|start_header_id|>" in template
        or "<|eot_id|>" in template
    )
    return tokens[_EOT] == "<|eot_id|>" and names_turns


def _lacks_pre(view: View) -> bool:
    return view.get("tokenizer.ggml.pre") in (None, "", "default")


def _llama3(view: View) -> None:
    if _lacks_pre(view):
        view.set("tokenizer.ggml.pre", string("llama-bpe"))
    for key in ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"):
        if view.get(key) in (None, _END_OF_TEXT):
            view.set(key, u32(_EOT))
    view.set("tokenizer.ggml.eos_token_ids", i32s([_EOT]))


def _llama4_clip(view: View) -> None:
    copy_vision(view, "feed_forward_length", "image_size")
    view.copy("vision.layer_norm_epsilon", "clip.vision.attention.layer_norm_epsilon")
    ratio = view.get("vision.pixel_shuffle_ratio")
    scale = round(1 / ratio) if isinstance(ratio, float) and 0.001 < ratio <= 1 else 2
    view.default("clip.vision.projector.scale_factor", u32(scale))
    describe_projector(view, "llama4", mean=HALF, std=HALF, activation="gelu")
    view.set("clip.vision.projector_type", string("llama4"))
    view.rename("v.positional_embedding_vlm", "v.position_embd.weight")
    view.substitute(
        ("v.vision_adapter.mlp.fc1", "mm.model.mlp.1"),
        ("v.vision_adapter.mlp.fc2", "mm.model.mlp.2"),
        ("mm.linear_1", "mm.model.fc"),
        ("v.class_embedding", "v.class_embd"),
        ("v.layernorm_post", "v.post_ln"),
        ("v.layernorm_pre", "v.pre_ln"),
        ("v.patch_embedding", "v.patch_embd"),
        (".attn_output", ".attn_out"),
        (".attn_norm", ".ln1"),
        (".ffn_norm", ".ln2"),
        (".mlp.fc1", ".ffn_up"),
        (".mlp.fc2", ".ffn_down"),
    )


RULES = (
    Rule(("llama",), _is_llama3, _llama3),
    Rule(("llama4",), has_tower, hide_towers, _llama4_clip),
)
