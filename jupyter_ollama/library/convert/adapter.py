"""Converting LoRA adapters in the layout of PEFT for a base model in GGUF."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf

from ..gguf import Header, InvalidGGUF, read_header
from .decoders import DECODERS
from .family import Family
from .model_folder import ConversionError, read_json
from .safetensors import Stored, read_file
from .tensors import Tensor, write

_PART = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight")
_UNSUPPORTED = ("use_dora", "fan_in_fan_out", "lora_bias")

Pairs = dict[str, dict[str, Stored]]


def convert_adapter(folder: Path, target: Path, base: Path) -> None:
    """Write the adapter in ``folder`` as a GGUF for the model ``base``. Raises ConversionError."""
    config = read_json(folder / "adapter_config.json")
    for key in _UNSUPPORTED:
        if config.get(key):
            raise ConversionError(f"{key} is not supported for adapters")
    if config.get("peft_type", "LORA") != "LORA":
        raise ConversionError(f'unsupported adapter "{config["peft_type"]}"')
    try:
        header = read_header(base)
    except InvalidGGUF as error:
        raise ConversionError(f"the model is not a GGUF: {error}") from None
    tensors = list(_tensors(_pairs(folder), header, config))
    writer = gguf.GGUFWriter(target, header.architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", _alpha(config))
    write(writer, tensors)


def _pairs(folder: Path) -> Pairs:
    """The two parts of each change, A and B, by the module that they change."""
    pairs: Pairs = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, stored in read_file(path).items():
            found = _PART.fullmatch(name)
            if not found:
                raise ConversionError(f'unexpected tensor "{name}" in the adapter')
            pairs.setdefault(found[1], {})[found[2]] = stored
    for module, parts in pairs.items():
        if len(parts) < 2:
            raise ConversionError(f"half of the change of {module} is missing")
    return pairs


def _tensors(pairs: Pairs, header: Header, config: dict[str, Any]) -> Iterator[Tensor]:
    family = _family(header)
    heads = header.get("attention.head_count")
    kv_heads = header.get("attention.head_count_kv") or heads
    rename = family.rename(header.get("block_count"))
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    for module, parts in pairs.items():
        name = rename(f"{module}.weight")
        if name is None or name not in shapes:
            raise ConversionError(f"the model has no {module}")
        first, second = parts["A"], parts["B"]
        rank = first.shape[0]
        if shapes[name] != (first.shape[-1], second.shape[0]) or second.shape[-1] != rank:
            raise ConversionError(f"the adapter does not fit {name} of the model")
        order = family.order(name, second.shape[0], heads, kv_heads)
        # llama.cpp multiplies by the alpha of the whole adapter, divided by the rank.
        scale = _scale(config, module, rank) * rank / _alpha(config)
        yield Tensor(f"{name}.lora_a", first)
        yield Tensor(f"{name}.lora_b", second, order=order, scale=scale)


def _family(header: Header) -> Family:
    for family in DECODERS.values():
        if family.architecture == header.architecture:
            return family
    raise ConversionError(f'unsupported architecture "{header.architecture}" for an adapter')


def _alpha(config: dict[str, Any]) -> float:
    alpha = config.get("lora_alpha", 8)
    if not isinstance(alpha, int | float) or not alpha:
        raise ConversionError("adapter_config.json has no lora_alpha")
    return float(alpha)


def _scale(config: dict[str, Any], module: str, rank: int) -> float:
    """The scale of each module's change."""
    patterns = config.get("alpha_pattern") or {}
    own = (value for key, value in patterns.items() if re.fullmatch(rf"(.*\.)?({key})", module))
    alpha = next(own, _alpha(config))
    return float(alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))
