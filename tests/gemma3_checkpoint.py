"""The small Gemma 3 that sees, of Ollama's layout, as a checkpoint of a model hub."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from tiny_checkpoint import Array, sentencepiece_file, write_json, write_safetensors

OLDER = ("language_model.model.", "vision_tower.vision_model.", "multi_modal_projector.")
NEWER = (
    "model.language_model.",
    "model.vision_tower.vision_model.",
    "model.multi_modal_projector.",
)
NEWEST = ("model.language_model.", "model.vision_tower.", "model.multi_modal_projector.")

CONFIG: dict[str, Any] = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "mm_tokens_per_image": 4,
    "bos_token_id": 2,
    "eos_token_id": 1,
    "text_config": {
        "head_dim": 16,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_hidden_layers": 7,
        "num_key_value_heads": 2,
        "query_pre_attn_scalar": 16,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 16,
    },
    "vision_config": {
        "hidden_size": 32,
        "image_size": 112,
        "intermediate_size": 48,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "patch_size": 14,
        "vision_use_head": False,
    },
}
"""It omits what google/gemma-3-4b-it omits."""

_TEXT = {
    "blk": "layers",
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOWER = _TEXT | {
    "blk": "encoder.layers",
    "attn_output": "self_attn.out_proj",
    "patch_embedding": "embeddings.patch_embedding",
    "position_embedding": "embeddings.position_embedding",
}

ABSENT = object()

Arrays = dict[str, tuple[str, Array]]


def read(model: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the metadata and the tensors of a GGUF."""
    reader = GGUFReader(model)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    return metadata, {tensor.name: tensor.data for tensor in reader.tensors}


def arrays_of(model: Path, prefixes: tuple[str, str, str] = OLDER) -> Arrays:
    """Return the tensors of a checkpoint, named with the prefixes of text, tower and projector."""
    arrays = {}
    for name, values in read(model)[1].items():
        kind = "F16" if values.dtype == np.float16 else "F32"
        shift = np.float32(1 if name.endswith("_norm.weight") else 0)
        arrays[_original(name, prefixes)] = (kind, values - shift if shift else values)
    return arrays


def _original(name: str, prefixes: tuple[str, str, str]) -> str:
    text, tower, projector = prefixes
    if name.startswith("mm."):
        rest = name.removeprefix("mm.").replace("_projection.weight", "_projection_weight")
        return projector + rest
    names, prefix = (_TOWER, tower) if name.startswith("v.") else (_TEXT, text)
    parts = name.removeprefix("v.").split(".")
    return prefix + ".".join(names.get(part, part) for part in parts)


def changed(*path: str, value: Any = ABSENT) -> dict[str, Any]:
    """Return the config with another value, or without a key."""
    config = copy.deepcopy(CONFIG)
    place: dict[str, Any] = config
    for key in path[:-1]:
        place = place[key]
    if value is ABSENT:
        place.pop(path[-1])
    else:
        place[path[-1]] = value
    return config


def write_checkpoint(
    folder: Path, model: Path, arrays: Arrays, config: dict[str, Any] = CONFIG
) -> Path:
    """Write a folder with the vocabulary of ``model``."""
    folder.mkdir(exist_ok=True)
    metadata, _ = read(model)
    keys = ("tokens", "scores", "token_type")
    pieces = list(zip(*(metadata[f"tokenizer.ggml.{key}"] for key in keys), strict=True))
    (folder / "tokenizer.model").write_bytes(sentencepiece_file(pieces))
    write_json(folder / "config.json", config)
    write_safetensors(folder / "model.safetensors", arrays)
    return folder
