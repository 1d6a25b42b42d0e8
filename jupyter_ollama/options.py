"""Ollama's options: the table of them, and how those of request, model and server combine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

import msgspec

from .errors import OllamaError
from .option_bounds import INT32, LONGEST_CONTEXT, MOST_SEQUENCES, OptionRange

KV_CACHE_TYPES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""The types that a KV cache may have, and their bytes per value; all but f16 are quantized."""

UNQUANTIZED = "f16"


class About(NamedTuple):
    """The description of an option, the range of its numbers, and whether Ollama lacks it."""

    text: str = ""
    bounds: OptionRange | None = None
    is_extension: bool = False


def _of(text: str = "", least: float = -math.inf, most: float = math.inf) -> About:
    return About(text, OptionRange(least, most) if least > -math.inf else None)


def _extension(text: str = "", least: float = -math.inf, most: float = math.inf) -> About:
    return _of(text, least, most)._replace(is_extension=True)


class LoadOptions(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The options that are fixed when a model is loaded, with Ollama's defaults.

    The specification of a load (`engine.protocol.LoadSpec`), the parsing of requests and the
    OpenAPI document take them from here.
    """

    num_ctx: Annotated[
        int, _of("Tokens of context; 0 for the server's default.", 0, LONGEST_CONTEXT)
    ] = 0
    num_parallel: Annotated[
        int,
        _extension(
            "Requests that run at once on the model; 0 for the server's default.", 0, MOST_SEQUENCES
        ),
    ] = 0
    num_batch: Annotated[int, _of("", 1, 4096)] = 512
    num_gpu: Annotated[int, _of("Layers on GPUs; -1 for as many as fit.", -1, 9999)] = -1
    num_cpu_moe: Annotated[
        int,
        _extension(
            "First layers whose experts stay on the host, of models with experts; -1 for as few as "
            "needed.",
            -1,
            9999,
        ),
    ] = -1
    main_gpu: Annotated[int, _of("", 0, 255)] = 0
    tensor_split: Annotated[Sequence[float], _extension("The parts of the GPUs.")] = ()
    use_mmap: Annotated[bool | None, _of()] = None
    num_thread: Annotated[int, _of("Threads; 0 for automatic.", 0, 1024)] = 0
    kv_cache_type: Annotated[str, _extension("The type of keys and values; any case.")] = ""
    flash_attention: Annotated[bool | None, _extension()] = None


class Options(LoadOptions, omit_defaults=True):
    """Every option of a request with Ollama's default; -1 or 0 is "automatic" as in Ollama.

    ``num_ctx`` and ``num_parallel`` 0, an empty ``kv_cache_type`` and a ``repetition_stop`` of None
    stand for the server's default. ``logit_bias`` maps token ids to what is added to their logits;
    its bounds hold for each bias: 1,000 exceeds the difference of any two logits of a model. The
    last block has samplers that are named as in llama-server and are off by default. A ``seed`` is
    any number, of which 64 bits are taken.
    """

    draft_num_predict: Annotated[int, _of("Tokens to draft ahead.", 0, 64)] = 4
    num_keep: Annotated[
        int, _of("Tokens to keep at the start where a prompt or a context is cut.", -1, INT32)
    ] = 4
    seed: Annotated[int, _of("The same seed gives the same answer.")] = -1
    num_predict: Annotated[
        int, _of("The most tokens of an answer; -1 for no limit.", -2, INT32)
    ] = -1
    top_k: Annotated[int, _of("Choose among so many tokens.", 0, INT32)] = 40
    top_p: Annotated[
        float, _of("Choose among the likeliest tokens with this probability together.", 0, 1)
    ] = 0.9
    min_p: Annotated[
        float, _of("Leave out tokens less likely than this, relative to the likeliest.", 0, 1)
    ] = 0.0
    typical_p: Annotated[float, _of("", 0, 1)] = 1.0
    repeat_last_n: Annotated[int, _of("Look back so far for repetitions.", -1, INT32)] = 64
    temperature: Annotated[float, _of("0 always takes the likeliest token.", 0, 1000)] = 0.8
    repeat_penalty: Annotated[float, _of("", 0, 1000)] = 1.0
    presence_penalty: Annotated[float, _of("", -1000, 1000)] = 0.0
    frequency_penalty: Annotated[float, _of("", -1000, 1000)] = 0.0
    mirostat: Annotated[int, _of("", -1, INT32)] = 0
    mirostat_tau: Annotated[float, _of("", 0, 1000)] = 5.0
    mirostat_eta: Annotated[float, _of("", 0, 1)] = 0.1
    stop: Annotated[list[str], _of("Texts that end an answer and are not part of it.")] = []
    logit_bias: Annotated[
        dict[int, float], _extension("Token ids, and what is added to their logits.", -1000, 1000)
    ] = {}
    repetition_stop: Annotated[
        bool | None,
        _extension(
            "Whether an answer that only repeats itself is ended; the server's setting decides "
            "where neither the request nor the model does."
        ),
    ] = None

    dry_multiplier: Annotated[float, _extension("0 is off.", 0, 1000)] = 0.0
    dry_base: Annotated[float, _extension("", 0, 1000)] = 1.75
    dry_allowed_length: Annotated[int, _extension("", 0, INT32)] = 2
    dry_penalty_last_n: Annotated[int, _extension("", -1, INT32)] = -1
    dry_sequence_breakers: Annotated[list[str], _extension("32 at most.")] = msgspec.field(
        default_factory=lambda: ["\n", ":", '"', "*"]
    )
    top_n_sigma: Annotated[float, _extension("Negative is off.", -1, 1000)] = -1.0
    xtc_probability: Annotated[float, _extension("0 is off.", 0, 1)] = 0.0
    xtc_threshold: Annotated[float, _extension("", 0, 1)] = 0.1


_HINTS = get_type_hints(Options, include_extras=True)

_NAMES = dict.fromkeys([*LoadOptions.__struct_fields__, *Options.__struct_fields__])

ABOUT: dict[str, About] = {name: get_args(_HINTS[name])[1] for name in _NAMES}
"""The description and the range of each option."""

TYPES: dict[str, str] = {
    name: {
        int: "integer",
        float: "float32",
        str: "string",
        bool | None: "boolean",
        list[str]: "an array of strings",
        Sequence[float]: "an array of numbers",
        dict[int, float]: "a map of token ids to numbers",
    }[get_args(_HINTS[name])[0]]
    for name in _NAMES
}
"""The type of each option in the words of Ollama's error texts."""

MAX_DRY_BREAKERS = 32
"""llama.cpp searches the whole vocabulary for each of them."""

LONGEST_DRY_BREAKER = 1024
"""Bytes of one string: each token is compared at each position."""

MAX_GPUS = 16
"""Parts of a ``tensor_split``: the most devices that llama.cpp uses."""

LARGEST_PART = 1e9
"""The largest part of a ``tensor_split``; their sum must be a 32-bit float."""

LONGEST_ID = 100
"""The most digits of a token id that is parsed."""

MAX_BIASES = 2**18
"""The most tokens of a ``logit_bias``: the size of the largest vocabularies."""


def merge_options(*layers: Mapping[str, Any] | None) -> tuple[Options, list[str]]:
    """Combine layers of options, later ones winning, into (options, unknown names).

    A null keeps the value of the layer below, a float given for an integer is truncated, a single
    string becomes a list of one. Numbers are clamped to their bounds. A wrong type raises
    OllamaError(400) with Ollama's text.
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
    if name == "seed" and _is_number(value) and math.isfinite(value):
        # Clients also draw unsigned 64-bit seeds; any number is valid.
        return (int(value) + 2**63) % 2**64 - 2**63
    if kind == "integer" and _is_number(value) and abs(value) < 2**63:
        return int(_bounded(name, int(value)))
    if kind == "float32" and _is_number(value):
        return float(_bounded(name, value))
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "string" and isinstance(value, str):
        return _kv_cache_type(value) if name == "kv_cache_type" else value
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


def _bounded(name: str, value: float) -> float:
    """Return an option's number within its bounds. Raises OllamaError(400)."""
    bounds = ABOUT[name].bounds
    return value if bounds is None else bounds.apply(f'option "{name}"', value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kv_cache_type(text: str) -> str:
    if text.lower() in KV_CACHE_TYPES:
        return text.lower()
    known = ", ".join(KV_CACHE_TYPES)
    raise OllamaError(400, f'option "kv_cache_type" must be one of {known}, not "{text}"')


def _breakers(texts: list[str]) -> list[str]:
    if len(texts) > MAX_DRY_BREAKERS:
        message = f'option "dry_sequence_breakers" must have at most {MAX_DRY_BREAKERS} strings'
        raise OllamaError(400, message)
    if any(len(text.encode("utf-8", "replace")) > LONGEST_DRY_BREAKER for text in texts):
        message = f"must have strings of at most {LONGEST_DRY_BREAKER} bytes"
        raise OllamaError(400, f'option "dry_sequence_breakers" {message}')
    return texts


def _logit_bias(value: Any) -> dict[int, float]:
    """Read biases; JSON has the ids as strings. No model has ids beyond 32 bits."""
    if not isinstance(value, dict) or not all(map(_is_bias, value.items())):
        raise OllamaError(400, 'option "logit_bias" must be a map of token ids to numbers')
    if len(value) > MAX_BIASES:
        raise OllamaError(400, f'option "logit_bias" must have at most {MAX_BIASES} tokens')
    biases = {int(token): float(_bounded("logit_bias", bias)) for token, bias in value.items()}
    return {token: bias for token, bias in biases.items() if token <= INT32}


def _is_bias(item: tuple[Any, Any]) -> bool:
    token, bias = str(item[0]), item[1]
    return token.isdecimal() and len(token) < LONGEST_ID and _is_number(bias)


def _tensor_split(value: Any) -> list[float]:
    """Read the parts of the GPUs, at least one of which must be positive."""
    parts = value if isinstance(value, list) else [value]
    if all(_is_number(part) and 0 <= part < math.inf for part in parts) and any(parts):
        if len(parts) > MAX_GPUS:
            raise OllamaError(400, f'option "tensor_split" must have at most {MAX_GPUS} parts')
        shares = [min(float(part), LARGEST_PART) for part in parts]
        if any(share >= 1 / LARGEST_PART for share in shares):
            return shares
    message = 'option "tensor_split" must be an array of numbers, none negative and not all 0'
    raise OllamaError(400, message)
