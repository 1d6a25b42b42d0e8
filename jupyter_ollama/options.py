"""Ollama's options: names, types, defaults, and how request, model and server ones combine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from .errors import OllamaError


class Options(msgspec.Struct, omit_defaults=True):
    """Every option of a request with Ollama's default; -1 or 0 is "automatic" as upstream has it.

    The first block is fixed when a model is loaded, the second counts for each request. ``num_ctx``
    and ``num_parallel`` 0 and an empty ``kv_cache_type`` stand for the server's default. Upstream
    has no ``num_parallel``, ``tensor_split``, ``kv_cache_type``, ``flash_attention`` and
    ``logit_bias``, which maps token ids to what is added to their logits. Nor has it the last
    block, samplers that are named as llama-server names them and are off by default.
    """

    num_ctx: int = 0
    num_parallel: int = 0
    num_batch: int = 512
    num_gpu: int = -1
    main_gpu: int = 0
    tensor_split: list[float] = []
    use_mmap: bool | None = None
    num_thread: int = 0
    kv_cache_type: str = ""
    flash_attention: bool | None = None

    draft_num_predict: int = 4
    num_keep: int = 4
    seed: int = -1
    num_predict: int = -1
    top_k: int = 40
    top_p: float = 0.9
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_last_n: int = 64
    temperature: float = 0.8
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    stop: list[str] = []
    logit_bias: dict[int, float] = {}

    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: list[str] = msgspec.field(default_factory=lambda: ["\n", ":", '"', "*"])
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1


TYPES: dict[str, str] = {
    field.name: {
        int: "integer",
        float: "float32",
        str: "string",
        bool | None: "boolean",
        list[str]: "an array of strings",
        list[float]: "an array of numbers",
        dict[int, float]: "a map of token ids to numbers",
    }[field.type]
    for field in msgspec.structs.fields(Options)
}
"""The type of each option in the words of Ollama's error texts."""

KV_CACHE_TYPES = ("f16", "q8_0", "q4_0")
"""The types that a KV cache may have; all but the first are quantized."""

MAX_DRY_BREAKERS = 32
"""For each of them llama.cpp looks through the whole vocabulary."""


def merge_options(*layers: Mapping[str, Any] | None) -> tuple[Options, list[str]]:
    """Combine layers of options, later ones winning, into (options, names nobody knows).

    A null leaves the value below it, a float given for an integer is cut, a lone string is a list
    of one stop string. A wrong type raises OllamaError(400) with Ollama's text.
    """
    values: dict[str, Any] = {}
    unknown: list[str] = []
    for layer in layers:
        for name, value in (layer or {}).items():
            if name not in TYPES:
                unknown.append(name)
            elif value is not None:
                values[name] = _typed(name, value)
    return Options(**values), unknown


def _typed(name: str, value: Any) -> Any:
    kind = TYPES[name]
    if kind == "integer" and _is_number(value) and abs(value) < 2**63:
        return int(value)
    if kind == "float32" and _is_number(value):
        return float(value)
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "string" and isinstance(value, str):
        return _kv_cache_type(value)
    if kind == "an array of numbers":
        return _tensor_split(value)
    if kind == "a map of token ids to numbers":
        return _logit_bias(value)
    if kind == "an array of strings":
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return _breakers(value) if name == "dry_sequence_breakers" else value
        if not isinstance(value, list):
            kind = "array"
    prefix = "of " if kind.startswith("an ") else "of type "
    raise OllamaError(400, f'option "{name}" must be {prefix}{kind}')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kv_cache_type(text: str) -> str:
    if text.lower() in KV_CACHE_TYPES:
        return text.lower()
    known = ", ".join(KV_CACHE_TYPES)
    raise OllamaError(400, f'option "kv_cache_type" must be one of {known}, not "{text}"')


def _breakers(texts: list[str]) -> list[str]:
    if len(texts) <= MAX_DRY_BREAKERS:
        return texts
    message = f'option "dry_sequence_breakers" must have at most {MAX_DRY_BREAKERS} strings'
    raise OllamaError(400, message)


def _logit_bias(value: Any) -> dict[int, float]:
    """Read biases; the ids are texts where they come as JSON."""
    is_map = isinstance(value, dict)
    if is_map and all(str(key).isdecimal() and _is_number(bias) for key, bias in value.items()):
        return {int(token): float(bias) for token, bias in value.items()}
    raise OllamaError(400, 'option "logit_bias" must be a map of token ids to numbers')


def _tensor_split(value: Any) -> list[float]:
    """Read the parts of the GPUs, of which one at least is to get something."""
    parts = value if isinstance(value, list) else [value]
    if all(_is_number(part) and 0 <= part < math.inf for part in parts) and any(parts):
        return [float(part) for part in parts]
    message = 'option "tensor_split" must be an array of numbers, none negative and not all 0'
    raise OllamaError(400, message)
