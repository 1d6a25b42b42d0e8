"""Converting sentence encoders of the BERT family, such as all-MiniLM-L6-v2."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from .model_folder import ConversionError, read_json
from .safetensors import read_tensors
from .wordpiece import read_vocabulary

ARCHITECTURES = ("BertModel", "BertForMaskedLM")

_NEEDED = (
    "num_hidden_layers",
    "max_position_embeddings",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
)
_TENSORS = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
_LAYER_TENSORS = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)")
_UNUSED = re.compile(r"(pooler|cls)\.|embeddings\.position_ids$")


def convert(folder: Path, config: dict[str, Any], target: Path) -> None:
    """Write the model in ``folder`` as a GGUF of 32-bit weights. Raises ConversionError."""
    if config.get("hidden_act", "gelu") != "gelu":
        raise ConversionError(f'unsupported activation "{config["hidden_act"]}"')
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ConversionError("only absolute position embeddings are supported")
    absent = [key for key in _NEEDED if not isinstance(config.get(key), int)]
    if absent:
        raise ConversionError(f"config.json has no {absent[0]}")
    tensors = _tensors(folder)
    _check(tensors, config)
    writer = gguf.GGUFWriter(target, "bert")
    _add_metadata(writer, folder, config)
    _add_vocabulary(writer, folder, config, len(tensors["token_embd.weight"]))
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _tensors(folder: Path) -> dict[str, np.ndarray[Any, Any]]:
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in read_tensors(path).items():
            short = name.removeprefix("bert.")
            if not _UNUSED.match(short):
                found[_gguf_name(short)] = tensor
    return found


def _gguf_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    layer = _LAYER.fullmatch(stem)
    table = _LAYER_TENSORS if layer else _TENSORS
    renamed = table.get(layer[2] if layer else stem)
    if not renamed or kind not in ("weight", "bias"):
        raise ConversionError(f'unexpected tensor "{name}"')
    return f"blk.{layer[1]}.{renamed}.{kind}" if layer else f"{renamed}.{kind}"


def _check(tensors: dict[str, np.ndarray[Any, Any]], config: dict[str, Any]) -> None:
    wanted = {f"{name}.weight" for name in _TENSORS.values()} | {"token_embd_norm.bias"}
    for layer in range(config["num_hidden_layers"]):
        stems = {f"blk.{layer}.{name}" for name in _LAYER_TENSORS.values()}
        wanted |= {f"{stem}.{kind}" for stem in stems for kind in ("weight", "bias")}
    missing = sorted(wanted - tensors.keys())
    if missing:
        raise ConversionError(f"tensor {missing[0]} is missing")


def _add_metadata(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    pooling, normalize = _pooling(folder)
    name = str(config.get("_name_or_path") or "").rstrip("/").rpartition("/")[2]
    writer.add_type(gguf.GGUFType.MODEL)
    if name:
        writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config.get("layer_norm_eps", 1e-12))
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    writer.add_bool("bert.normalize_embeddings", normalize)


def _pooling(folder: Path) -> tuple[gguf.PoolingType, bool]:
    """How token vectors become one vector, as modules.json and the module's config have it."""
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
    return kind, "Normalize" in kinds


def _add_vocabulary(
    writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any], rows: int
) -> None:
    tokens = read_vocabulary(folder)
    if len(tokens) > rows:
        raise ConversionError(f"{len(tokens)} tokens, but only {rows} embeddings")
    types = [
        gguf.TokenType.CONTROL if _is_special(token) else gguf.TokenType.NORMAL for token in tokens
    ]
    padding = [f"[PAD{number}]" for number in range(len(tokens), rows)]
    types += [gguf.TokenType.UNUSED] * len(padding)
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(config.get("type_vocab_size", 2))
    writer.add_token_list([_with_space(token) for token in tokens] + padding)
    writer.add_token_types(types)
    for token, add in (
        ("[CLS]", writer.add_bos_token_id),
        ("[SEP]", writer.add_sep_token_id),
        ("[PAD]", writer.add_pad_token_id),
        ("[UNK]", writer.add_unk_token_id),
        ("[MASK]", writer.add_mask_token_id),
    ):
        if token not in tokens:
            raise ConversionError(f"the vocabulary has no {token}")
        add(tokens.index(token))


def _is_special(token: str) -> bool:
    return token in ("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]")


def _with_space(token: str) -> str:
    """llama.cpp marks the beginnings of words, WordPiece their continuations."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else f"\u2581{token}"
