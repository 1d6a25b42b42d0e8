"""The families of models that embed sentences, such as all-MiniLM-L6-v2."""

from __future__ import annotations

from pathlib import Path

import gguf

from .family import Family
from .model_folder import Config, ConversionError, read_json

_LAYER = ("attn_output", "attn_output_norm", "ffn_up", "ffn_down", "layer_output_norm")
_NOMIC_NAMES = {
    "num_hidden_layers": "n_layer",
    "hidden_size": "n_embd",
    "intermediate_size": "n_inner",
    "num_attention_heads": "n_head",
}
_NOMIC_SETTINGS = {
    "prenorm": False,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "qkv_proj_bias": False,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
}


def _describe(writer: gguf.GGUFWriter, config: Config, length: int) -> None:
    writer.add_block_count(config.number("num_hidden_layers"))
    writer.add_context_length(length)
    writer.add_embedding_length(config.number("hidden_size"))
    writer.add_feed_forward_length(config.number("intermediate_size"))
    writer.add_head_count(config.heads)
    writer.add_causal_attention(False)
    writer.add_token_type_count(config.get("type_vocab_size", 2))


def _describe_bert(writer: gguf.GGUFWriter, config: Config) -> None:
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ConversionError("only absolute position embeddings are supported")
    _describe(writer, config, config.number("max_position_embeddings"))
    writer.add_layer_norm_eps(config.get("layer_norm_eps", 1e-12))


def _describe_nomic(writer: gguf.GGUFWriter, config: Config) -> None:
    for key, supported in _NOMIC_SETTINGS.items():
        if config.get(key, supported) != supported:
            raise ConversionError(f"{key} {config.get(key)} is not supported")
    if config.get("moe_every_n_layers"):
        raise ConversionError("models with experts are not supported")
    # The model was not trained on longer texts, although it has more positions.
    length = min(config.number("n_positions"), config.get("max_trained_positions", 2048))
    _describe(writer, config, length)
    writer.add_layer_norm_eps(config.get("layer_norm_epsilon", 1e-12))
    writer.add_rope_freq_base(float(config.get("rotary_emb_base", 10000)))


def nomic_names(config: Config) -> Config:
    """Return the settings of a nomic-bert model under the names that other models use."""
    return config.with_defaults(
        {ours: config.get(theirs) for ours, theirs in _NOMIC_NAMES.items()}
        | {"hidden_act": config.get("activation_function")}
    )


def add_pooling(writer: gguf.GGUFWriter, folder: Path) -> None:
    """Return how token vectors are pooled, by modules.json and the config of the module."""
    modules = read_json(folder / "modules.json") if (folder / "modules.json").exists() else []
    kinds = {module["type"].rpartition(".")[2]: module.get("path") for module in modules}
    path = folder / (kinds.get("Pooling") or "1_Pooling") / "config.json"
    pooling = read_json(path) if path.exists() else {}
    if pooling.get("pooling_mode_cls_token"):
        kind = gguf.PoolingType.CLS
    elif pooling.get("pooling_mode_mean_tokens", True):
        kind = gguf.PoolingType.MEAN
    else:
        raise ConversionError("only pooling by mean or by the first token is supported")
    writer.add_pooling_type(kind)
    writer.add_bool(f"{writer.arch}.normalize_embeddings", "Normalize" in kinds)


_BERT = Family(
    "bert",
    _describe_bert,
    (*_LAYER, "attn_q", "attn_k", "attn_v"),
    outside=("token_embd", "token_embd_norm", "position_embd", "token_types"),
    activations=("gelu",),
    prefixes=("bert.",),
    half=False,
    biased=True,
)

ENCODERS = {
    "BertModel": _BERT,
    "BertForMaskedLM": _BERT,
    "NomicBertModel": Family(
        "nomic-bert",
        _describe_nomic,
        (*_LAYER, "attn_qkv", "ffn_gate"),
        outside=("token_embd", "token_embd_norm"),
        activations=("swiglu",),
    ),
}
"""The families by the architecture that config.json names."""
