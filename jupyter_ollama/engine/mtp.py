"""Which models have a head for multi-token prediction (MTP; "nextn" in llama.cpp) that can draft.

A head is one more layer. From the hidden state behind a token and the token that follows it the
head predicts the token after that. llama.cpp runs it in a context of its own over the same weights.
"""

from __future__ import annotations

from ..library.gguf import Header
from .llama_internals import has_nextn

_NEEDS = {
    "deepseek2": ("ffn_gate_inp.weight", "attn_k_b.weight"),
    "glm4moe": ("ffn_gate_inp.weight",),
    "qwen35": (),
    "qwen35moe": ("ffn_gate_inp.weight",),
}
"""The architectures whose head llama.cpp can run and whose memory can remove tokens, and further
tensors that llama.cpp requires of the head; it may abort the process without them."""

_EVERY_HEAD = (
    "attn_norm.weight",
    "nextn.eh_proj.weight",
    "nextn.enorm.weight",
    "nextn.hnorm.weight",
)


def head_layers(header: Header) -> range:
    """Return the indices of the layers that are heads; they come last."""
    layers = int(header.get("block_count") or 0)
    heads = int(header.get("nextn_predict_layers") or 0)
    return range(layers - min(heads, layers), layers)


def can_draft(header: Header) -> bool:
    """Return whether a model has exactly one head, with which it can draft for itself."""
    heads, needs = head_layers(header), _NEEDS.get(header.architecture)
    if not has_nextn or needs is None or len(heads) != 1:
        return False
    if header.architecture == "deepseek2" and not _has_latent_attention(header):
        return False
    names = {tensor.name for tensor in header.tensors}
    return all(f"blk.{heads[0]}.{name}" in names for name in (*_EVERY_HEAD, *needs))


def _has_latent_attention(header: Header) -> bool:
    """Return whether attention is latent (MLA) in all layers and of one temperature."""
    scaled = f"{header.architecture}.attention.temperature"
    return bool(header.get("attention.key_length_mla")) and not any(
        key.startswith(scaled) for key in header.metadata
    )
