"""The families of models that generate text."""

from __future__ import annotations

import math
from dataclasses import replace

import gguf
import numpy as np

from .family import Factors, Family
from .model_folder import Config, ConversionError
from .rope import Rope, add_rope, llama3_factors

_LAYER = ("attn_norm", "attn_output", "ffn_norm", "ffn_down", "ffn_up")
_PLAIN = (*_LAYER, "attn_q", "attn_k", "attn_v", "ffn_gate")
_GEMMA = (*_PLAIN, "post_attention_norm", "post_ffw_norm")
_GELU = ("gelu_pytorch_tanh", "gelu_tanh")
_LARGEST_GEMMAS = {"gemma2": 46, "gemma3": 62}
"""Numbers of layers for which llama.cpp scales attention by the width of the model."""


def _describe(writer: gguf.GGUFWriter, config: Config, special: tuple[str, ...] = ()) -> None:
    writer.add_context_length(config.number("max_position_embeddings"))
    writer.add_embedding_length(config.number("hidden_size"))
    writer.add_block_count(config.number("num_hidden_layers"))
    writer.add_feed_forward_length(config.number("intermediate_size"))
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.get("num_key_value_heads", config.heads))
    writer.add_layer_norm_rms_eps(config.get("rms_norm_eps", 1e-6))
    add_rope(writer, Rope.read(config), special)


def _describe_heads(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)


def _describe_llama(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe(writer, config, special=("llama3",))
    _describe_heads(writer, config)
    writer.add_rope_dimension_count(config.head_width)


def _llama_factors(config: Config) -> Factors:
    rope = Rope.read(config)
    return {"rope_freqs.weight": llama3_factors(config, rope)} if rope.kind == "llama3" else {}


def _describe_qwen(writer: gguf.GGUFWriter, config: Config) -> None:
    if config.get("use_sliding_window") and config.get("sliding_window"):
        raise ConversionError("sliding windows are not supported for this architecture")
    _describe(writer, config)
    _describe_heads(writer, config)


def _describe_gemma(writer: gguf.GGUFWriter, config: Config) -> None:
    scalar = config.get("query_pre_attn_scalar", config.head_width)
    expected = config.head_width
    if config.number("num_hidden_layers") == _LARGEST_GEMMAS[writer.arch]:
        expected = config.number("hidden_size") // config.heads
    if scalar != expected:
        raise ConversionError(f"query_pre_attn_scalar {scalar} is not supported")
    _describe(writer, config)
    _describe_heads(writer, config)
    if cap := config.get("attn_logit_softcapping"):
        writer.add_attn_logit_softcapping(cap)
    if cap := config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(cap)
    window = config.get("sliding_window")
    pattern = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern")
    if not window or pattern == 1:
        return
    writer.add_sliding_window(window)
    if kinds := config.get("layer_types"):
        writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in kinds])
    elif pattern:
        writer.add_sliding_window_pattern(pattern)


def _describe_phi3(writer: gguf.GGUFWriter, config: Config) -> None:
    _describe(writer, config, special=("longrope",))
    longest, trained = config.number("max_position_embeddings"), _trained_length(config)
    writer.add_rope_scaling_orig_ctx_len(trained)
    writer.add_rope_dimension_count(_turned_width(config))
    # llama.cpp distinguishes Phi-4 from its predecessors by a window of 0.
    writer.add_sliding_window(config.get("sliding_window", 0))
    rope = Rope.read(config)
    if rope.kind == "longrope":
        own = math.sqrt(1 + math.log(max(longest / trained, 1.0)) / math.log(trained))
        writer.add_rope_scaling_attn_factors(rope.values.get("attention_factor") or own)


def _phi3_factors(config: Config) -> Factors:
    rope = Rope.read(config)
    if rope.kind != "longrope":
        return {}
    factors = {}
    for key, name in (("long_factor", "rope_factors_long"), ("short_factor", "rope_factors_short")):
        values = rope.values.get(key) or []
        if len(values) != _turned_width(config) // 2:
            raise ConversionError(f"{key} of the RoPE scaling has {len(values)} numbers")
        factors[f"{name}.weight"] = np.array(values, dtype=np.float32)
    return factors


def _trained_length(config: Config) -> int:
    key = "original_max_position_embeddings"
    said = Rope.read(config).values.get(key) or config.get(key)
    return int(said or config.number("max_position_embeddings"))


def _turned_width(config: Config) -> int:
    part = Rope.read(config).values.get("partial_rotary_factor")
    return int((part or config.get("partial_rotary_factor", 1.0)) * config.head_width)


_LLAMA = Family("llama", _describe_llama, _PLAIN, factors=_llama_factors, turned=True)
_GEMMA2 = Family(
    "gemma2",
    _describe_gemma,
    _GEMMA,
    activations=_GELU,
    norm_shift=1.0,
    always_tied=True,
    defaults={
        "query_pre_attn_scalar": 256,
        "head_dim": 256,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    },
)
_GEMMA3 = Family(
    "gemma3",
    _describe_gemma,
    (*_GEMMA, "attn_q_norm", "attn_k_norm"),
    activations=_GELU,
    norm_shift=1.0,
    always_tied=True,
    trimmed=True,
    prefixes=("language_model.model.", "model.language_model."),
    # Configs of multimodal models omit settings that equal those of the first models.
    defaults={
        "max_position_embeddings": 131072,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "sliding_window": 4096,
    },
)

DECODERS = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": Family("qwen2", _describe_qwen, _PLAIN),
    "Qwen3ForCausalLM": Family("qwen3", _describe_qwen, (*_PLAIN, "attn_q_norm", "attn_k_norm")),
    "Gemma2ForCausalLM": _GEMMA2,
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3ForConditionalGeneration": replace(_GEMMA3, sees=True),
    "Phi3ForCausalLM": Family("phi3", _describe_phi3, (*_LAYER, "attn_qkv"), factors=_phi3_factors),
}
"""The families by the architecture that config.json names."""
