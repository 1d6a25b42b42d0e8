"""Small checkpoints as on model hubs: safetensors files, config, tokenizer."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = dict[str, NDArray[np.float32]]

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
BYTES = {
    byte: chr(byte if 33 <= byte < 127 or (byte > 160 and byte != 173) else 256 + number)
    for number, byte in enumerate(
        sorted(range(256), key=lambda b: (33 <= b < 127 or (b > 160 and b != 173), b))
    )
}
"""The characters of bytes in byte-level tokenizers: printable bytes precede the others."""

COMMON = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "max_position_embeddings": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "bos_token_id": 256,
    "eos_token_id": 257,
}
GEMMA = COMMON | {
    "head_dim": 32,
    "query_pre_attn_scalar": 32,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_act": None,
    "tie_word_embeddings": True,
    "num_hidden_layers": 4,
    "sliding_window": 6,
}
LLAMA3_SCALING = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
LINEAR = {"rope_type": "linear", "factor": 8.0}
LOCAL, GLOBAL = "sliding_attention", "full_attention"

CONFIGS: dict[str, dict[str, Any]] = {
    "llama": COMMON | {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    "llama3.2": COMMON
    | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "rope_scaling": LLAMA3_SCALING,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "head_dim": 32,
    },
    "mistral": COMMON
    | {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "rope_theta": 1e6},
    "qwen2": COMMON
    | {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "rope_scaling": YARN},
    "qwen3": COMMON
    | {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "head_dim": 32},
    "gemma2": GEMMA
    | {
        "model_type": "gemma2",
        "architectures": ["Gemma2ForCausalLM"],
        "attn_logit_softcapping": 5.0,
        "final_logit_softcapping": 3.0,
        "layer_types": [LOCAL, GLOBAL] * 2,
    },
    "gemma3": GEMMA
    | {
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        "rope_theta": 1e6,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": LINEAR,
        "layer_types": [LOCAL, LOCAL, GLOBAL, LOCAL],
    },
    "phi3": COMMON
    | {
        "model_type": "phi3",
        "architectures": ["Phi3ForCausalLM"],
        "partial_rotary_factor": 0.75,
        "max_position_embeddings": 1200,
        "original_max_position_embeddings": 300,
        "rope_scaling": {
            "type": "longrope",
            "short_factor": [1.0, 1.1, 1.3, 1.6, 2.0, 3.0],
            "long_factor": [1.0, 2.0, 4.0, 8.0, 16.0, 32.0],
        },
    },
}
"""Settings of a model of each family, with short windows and strong factors for visible effects."""


def make_weights(config: dict[str, Any], words: int, seed: int = 0) -> Weights:
    """Draw the weights of a model; numbers of 8 bits, so that half precision holds them exactly."""
    random = np.random.default_rng(seed)
    kind, size = config["model_type"], config["hidden_size"]
    width = config.get("head_dim") or size // config["num_attention_heads"]
    heads, kv = (config[f"num_{k}_heads"] * width for k in ("attention", "key_value"))
    inner = config["intermediate_size"]
    layer = {
        "input_layernorm": (size,),
        "post_attention_layernorm": (size,),
        "self_attn.o_proj": (size, heads),
        "mlp.down_proj": (size, inner),
    }
    if kind == "phi3":
        layer |= {
            "self_attn.qkv_proj": (heads + 2 * kv, size),
            "mlp.gate_up_proj": (2 * inner, size),
        }
    else:
        layer |= {"mlp.gate_proj": (inner, size), "mlp.up_proj": (inner, size)}
        layer |= {f"self_attn.{k}_proj": ({"q": heads}.get(k, kv), size) for k in "qkv"}
    if kind in ("qwen3", "gemma3_text"):
        layer |= {"self_attn.q_norm": (width,), "self_attn.k_norm": (width,)}
    if kind.startswith("gemma"):
        layer |= {"pre_feedforward_layernorm": (size,), "post_feedforward_layernorm": (size,)}
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (words, size),
        "model.norm.weight": (size,),
    }
    if not config["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (words, size)
    for number in range(config["num_hidden_layers"]):
        for name, shape in layer.items():
            shapes[f"model.layers.{number}.{name}.weight"] = shape
        if kind == "qwen2":
            for k in "qkv":
                name = f"model.layers.{number}.self_attn.{k}_proj"
                shapes[f"{name}.bias"] = shapes[f"{name}.weight"][:1]
    return {name: _draw(random, name, shape, kind) for name, shape in shapes.items()}


def _draw(random: np.random.Generator, name: str, shape: tuple[int, ...], kind: str) -> Array:
    if name.endswith("norm.weight"):
        values = random.uniform(0.5, 1.5, shape) - (1.0 if kind.startswith("gemma") else 0.0)
    else:
        # Small logits: llama.cpp multiplies 16-bit numbers, with a relative error of a thousandth.
        spread = 0.06 if "embed" in name or "lm_head" in name else 1.2 / np.sqrt(shape[-1])
        values = random.standard_normal(shape) * spread
    return brain_floats(values.astype(np.float32))


def brain_floats(values: Array) -> NDArray[np.float32]:
    """Truncate numbers to BF16."""
    return (values.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)


def write_safetensors(path: Path, arrays: dict[str, tuple[str, Array]]) -> None:
    """Write a file from arrays with the names of their types."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (dtype, array) in arrays.items():
        raw = array.tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


def as_bf16(weights: Weights) -> dict[str, tuple[str, Array]]:
    """The weights as BF16."""
    return {name: ("BF16", (w.view(np.uint32) >> 16).astype("<u2")) for name, w in weights.items()}


def byte_level(regex: str, merges: list[str], **model: Any) -> dict[str, Any]:
    """A tokenizer.json with the tokens of bytes and merges, and some special tokens."""
    vocabulary = {BYTES[byte]: byte for byte in range(256)}
    added = ["<|begin|>", "<|end_of_text|>", "<|eot|>"]
    for number, merge in enumerate(merges):
        vocabulary[merge.replace(" ", "")] = 259 + number
    split = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    bytes_ = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    return {
        "added_tokens": [
            {"id": 256 + number, "content": token, "special": True}
            for number, token in enumerate(added)
        ],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, bytes_]},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges, **model},
    }


def write_checkpoint(folder: Path, family: str, **changes: Any) -> Weights:
    """Write a small model of a family with a byte-level tokenizer and return its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    config = CONFIGS[family] | changes
    tokenizer = byte_level(LLAMA3 if "llama" in family else QWEN2, ["h e", "l l", "he ll"])
    weights = make_weights(config, words=264)  # two rows more than tokens
    write_safetensors(folder / "model.safetensors", as_bf16(weights))
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer.json", tokenizer)
    return weights


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(value), encoding="utf-8")


def message(*fields: tuple[int, Any]) -> bytes:
    """Encode a message of Protocol Buffers, of numbers, fractions and bytes."""
    data = b""
    for number, value in fields:
        if isinstance(value, int):
            data += bytes([number << 3, value])
        elif isinstance(value, float):
            data += bytes([number << 3 | 5]) + struct.pack("<f", value)
        else:
            length = bytes([len(value) & 127 | 128, len(value) >> 7])
            data += bytes([number << 3 | 2]) + length + value
    return data


def sentencepiece_file(
    pieces: list[tuple[str, float, int]], kind: int = 2, **normalizer: int
) -> bytes:
    """A tokenizer.model of pieces with their scores and types."""
    fields: list[tuple[int, Any]] = [
        (1, message((1, text.encode()), (2, score), (3, of))) for text, score, of in pieces
    ]
    fields += [(2, message((3, kind))), (3, message(*((3, v) for v in normalizer.values())))]
    return message(*fields)
