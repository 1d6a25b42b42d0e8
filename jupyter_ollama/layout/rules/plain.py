"""Text-only models, each with a few names particular to Ollama."""

from __future__ import annotations

import base64
import binascii

from ..convert import repack_mxfp4
from ..errors import LayoutError
from ..pieces import string, u8s, u32
from ..view import View
from .rule import Rule, always

_CHARSMAP = "tokenizer.ggml.precompiled_charsmap"


def _is_charsmap_text(view: View) -> bool:
    """Detect a character map whose base64 text is an array with a string for each letter."""
    if view.get("tokenizer.ggml.model") != "t5" or not view.is_array(_CHARSMAP):
        return False
    values = view.array(_CHARSMAP)
    return bool(values) and isinstance(values[0], str)


def _charsmap(view: View) -> None:
    text = "".join(map(str, view.array(_CHARSMAP))).partition("=")[0]
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        raise LayoutError(f"{_CHARSMAP} is not base64") from None
    view.set(_CHARSMAP, u8s(data))


def _gpt_oss(view: View) -> None:
    view.become("gpt-oss")
    if not view.has("expert_feed_forward_length"):
        inner = view.dimension("blk.0.ffn_gate_exps.weight", 1)
        view.set("expert_feed_forward_length", u32(inner))
    view.default("rope.scaling.type", string("yarn"))
    view.set("tokenizer.ggml.pre", string("gpt-4o"))
    view.substitute(
        (".attn_out", ".attn_output"),
        (".attn_sinks", ".attn_sinks.weight"),
        (".ffn_norm", ".post_attention_norm"),
    )
    repack_mxfp4(view)


def _is_lfm2(view: View) -> bool:
    return "output_norm.weight" in view.tensors and "token_embd_norm.weight" not in view.tensors


def _lfm2(view: View) -> None:
    view.rename("output_norm.weight", "token_embd_norm.weight")
    view.set("tokenizer.ggml.pre", string("lfm2"))
    view.set("feed_forward_length", u32(view.dimension("blk.0.ffn_gate.weight", 1)))


def _olmo3(view: View) -> None:
    view.become("olmo2")


def _is_laguna(view: View) -> bool:
    return (
        view.has("rope.swa.dimension_count", "rope.swa.freq_base")
        or "blk.0.attn_g.weight" in view.tensors
    )


def _laguna(view: View) -> None:
    view.copy("rope.swa.dimension_count", "rope.dimension_count_swa")
    view.copy("rope.swa.freq_base", "rope.freq_base_swa")
    for block in view.blocks():
        view.rename(f"blk.{block}.attn_g.weight", f"blk.{block}.attn_gate.weight")


def _is_llava_projector(view: View) -> bool:
    return view.get("clip.has_vision_encoder") is True and not view.has(
        "clip.projector_type", "clip.vision.projector_type"
    )


def _llava_projector(view: View) -> None:
    view.set("clip.projector_type", string("mlp"))


RULES = (
    Rule(("bert",), _is_charsmap_text, _charsmap),
    Rule(("gptoss",), always, _gpt_oss),
    Rule(("lfm2",), _is_lfm2, _lfm2),
    Rule(("olmo3",), always, _olmo3),
    Rule(("laguna",), _is_laguna, _laguna),
    Rule(("clip",), _is_llava_projector, _llava_projector),
)
