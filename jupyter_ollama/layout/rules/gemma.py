"""Gemma 3, its embedding model, Gemma 3n and Gemma 4."""

from __future__ import annotations

from ..convert import to_float32
from ..errors import LayoutError
from ..pieces import Span, boolean, f32, i32s, string, u32
from ..view import View
from ..virtual_file import TensorView
from .rule import HALF, TOWERS, Rule, copy_vision, describe_projector, has_tower, hide_towers

CHAT_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages %}
{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
{{- message.content | trim }}
{{- '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<start_of_turn>model\\n' }}
{%- endif %}
"""
"""The turns of Gemma 3, for files without a template; a system text is a separate turn."""

_LONG_CONTEXT = 131072
"""The context length from which the positions of Gemma 3 are scaled."""

_BYTE_TOKEN, _NORMAL_TOKEN = 6, 1
_END_OF_TURN = 106


def _is_embedding_gemma(view: View) -> bool:
    return "dense.0.weight" in view.tensors


def _embedding_gemma(view: View) -> None:
    view.become("gemma-embedding")
    view.drop("attention.causal")
    view.drop("attention.sliding_window_pattern")
    view.default("rope.freq_base_swa", f32(10000))
    for number, dense in ((2, "dense.0.weight"), (3, "dense.1.weight")):
        view.set(f"dense_{number}_feat_in", u32(view.dimension(dense, 0)))
        view.set(f"dense_{number}_feat_out", u32(view.dimension(dense, 1)))
        view.rename(dense, f"dense_{number}.weight")
    view.rename("norm.weight", "output_norm.weight")


def _is_gemma3(view: View) -> bool:
    return (
        view.has("mm.tokens_per_image", "rope.global.freq_base", "rope.local.freq_base")
        or view.has("tokenizer.ggml.add_padding_token", "tokenizer.ggml.add_unknown_token")
        or has_tower(view)
        or not view.has("attention.layer_norm_rms_epsilon")
    )


def _gemma3(view: View) -> None:
    view.copy("rope.global.freq_base", "rope.freq_base")
    view.copy("rope.local.freq_base", "rope.freq_base_swa")
    view.default("attention.layer_norm_rms_epsilon", f32(1e-6))
    view.default("rope.freq_base", f32(1e6))
    view.default("rope.freq_base_swa", f32(1e4))
    view.default("tokenizer.chat_template", string(CHAT_TEMPLATE))
    if view.integer("context_length", 0) >= _LONG_CONTEXT:
        view.default("rope.scaling.type", string("linear"))
        view.default("rope.scaling.factor", f32(8))
    view.shorten_vocabulary(view.dimension("token_embd.weight", 1))
    hide_towers(view)


def _gemma3_clip(view: View) -> None:
    copy_vision(view, "feed_forward_length", "image_size", "attention.layer_norm_epsilon")
    describe_projector(view, "gemma3", mean=HALF, std=HALF, activation="gelu")
    view.substitute(
        ("v.patch_embedding", "v.patch_embd"),
        ("v.position_embedding", "v.position_embd"),
        ("v.post_layernorm", "v.post_ln"),
        (".layer_norm1", ".ln1"),
        (".layer_norm2", ".ln2"),
        (".attn_output", ".attn_out"),
        # libmtmd expects up and down in this order for Gemma and swaps them itself.
        (".mlp.fc1", ".ffn_down"),
        (".mlp.fc2", ".ffn_up"),
        ("mm.mm_input_projection", "mm.input_projection"),
        ("mm.mm_soft_emb_norm", "mm.soft_emb_norm"),
    )
    to_float32(view, "v.patch_embd.weight", "v.position_embd.weight")


def _is_gemma3n(view: View) -> bool:
    names = ("token_embd.weight", "per_layer_token_embd.weight")
    if any(name not in view.tensors for name in names):
        return False
    return view.dimension(names[0], 1) != view.dimension(names[1], 1)


def _gemma3n(view: View) -> None:
    length = view.dimension("per_layer_token_embd.weight", 1)
    view.shorten("token_embd.weight", length)
    view.set("tokenizer.ggml.model", string("llama"))
    view.shorten_vocabulary(length)
    _mark_byte_tokens(view, length)
    ends = view.integers("tokenizer.ggml.eos_token_ids", [1])
    if _END_OF_TURN not in ends:
        ends = [*ends, _END_OF_TURN]
    view.set("tokenizer.ggml.eos_token_ids", i32s(ends))
    view.hide(*TOWERS, "a.")


def _mark_byte_tokens(view: View, length: int) -> None:
    if not view.has("tokenizer.ggml.token_type"):
        return
    types = view.integers("tokenizer.ggml.token_type")[:length]
    tokens = view.array("tokenizer.ggml.tokens")[: len(types)]
    for number, token in enumerate(tokens):
        if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
            types[number] = _BYTE_TOKEN
        elif str(token).startswith("<unused"):
            types[number] = _NORMAL_TOKEN
    view.set("tokenizer.ggml.token_type", i32s(types))


def _is_gemma4(view: View) -> bool:
    towers = (*TOWERS, "a.", "model.vision_tower.")
    return view.has_tensor(*towers) or view.get("tokenizer.ggml.model") == "llama"


def _gemma4(view: View) -> None:
    if view.get("tokenizer.ggml.model") == "llama":
        view.set("tokenizer.ggml.model", string("gemma4"))
    view.hide(*TOWERS, "a.", "model.vision_tower.")
    for block in view.blocks():
        prefix = f"blk.{block}."
        view.rename(f"{prefix}ffn_gate_inp.per_expert_scale", f"{prefix}ffn_down_exps.scale")
        _merge_experts(view, prefix)


def _merge_experts(view: View, prefix: str) -> None:
    """Concatenate the gate and up matrices of each expert, which makes a faster graph."""
    names = (f"{prefix}ffn_gate_exps.weight", f"{prefix}ffn_up_exps.weight")
    scales = [
        f"{prefix}ffn_{part}_exps.{kind}"
        for part in ("gate", "up")
        for kind in ("scale", "input_scale")
    ]
    merged = f"{prefix}ffn_gate_up_exps.weight"
    gate, up = (view.tensors.get(name) for name in names)
    if gate is None or up is None or any(name in view.tensors for name in (merged, *scales)):
        return
    if (gate.type_name, gate.shape) != (up.type_name, up.shape):
        return
    width, rows, experts = gate.shape if len(gate.shape) == 3 else (0, 0, 0)
    if not experts or gate.size % experts:
        raise LayoutError(f"tensor {gate.name} is not a matrix for each expert")
    size = gate.size // experts
    spans = []
    for expert in range(experts):
        for part in (gate, up):
            (span,) = part.pieces
            assert isinstance(span, Span)
            spans.append(Span(span.offset + expert * size, size))
    for name in names:
        view.take(name)
    view.put(TensorView(merged, (width, 2 * rows, experts), gate.type_name, tuple(spans)))


def _gemma4_clip(view: View) -> None:
    copy_vision(view, "feed_forward_length", "image_size", "attention.layer_norm_epsilon")
    view.default("clip.vision.image_size", u32(224))
    describe_projector(
        view, "gemma4v", mean=(0, 0, 0), std=(1, 1, 1), kind_key="clip.vision.projector_type"
    )
    if view.has_tensor("a."):
        _gemma4_audio(view)
    to_float32(view, "v.patch_embd.weight")


def _gemma4_audio(view: View) -> None:
    for key in (
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.layer_norm_epsilon",
    ):
        view.copy(f"audio.{key}", f"clip.audio.{key}")
    view.copy("embedding_length", "clip.audio.projection_dim")
    view.default("clip.audio.num_mel_bins", u32(128))
    view.default("clip.has_audio_encoder", boolean(True))
    view.set("clip.audio.projector_type", string("gemma4a"))
    view.rename("a.pre_encode.out.weight", "a.input_projection.weight")
    view.rename_keys("mm.a.fc.", "a.pre_encode.out.")
    for block in view.blocks("a."):
        for old, new in (
            ("ln1", "attn_pre_norm"),
            ("ln2", "attn_post_norm"),
            ("layer_pre_norm", "ln2"),
            ("linear_pos", "attn_k_rel"),
        ):
            view.rename(f"a.blk.{block}.{old}.weight", f"a.blk.{block}.{new}.weight")


RULES = (
    Rule(("gemma3",), _is_embedding_gemma, _embedding_gemma),
    Rule(("gemma3",), _is_gemma3, _gemma3, _gemma3_clip),
    Rule(("gemma3n",), _is_gemma3n, _gemma3n),
    Rule(("gemma4",), _is_gemma4, _gemma4, _gemma4_clip),
)
