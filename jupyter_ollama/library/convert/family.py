"""Model families: the common steps of conversion, and the description of one family."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from .model_folder import Config, ConversionError
from .safetensors import Stored
from .tensors import Tensor

_UNUSED = re.compile(
    r"(.*\.)?(inv_freq|position_ids)$|(pooler|cls)\.|(model\.)?(vision_tower|multi_modal_projector)\."
)
"""Tensors that can be recomputed, of parts that are not converted, and of vision towers."""

_ALWAYS_WIDE = ("token_types.weight", "position_embd.weight")
_KINDS = (".weight", ".bias")
MOST_LAYERS = 1000

Factors = dict[str, NDArray[np.float32]]


def _no_factors(config: Config) -> Factors:
    return {}


@dataclass(frozen=True)
class Family:
    """How to convert the models of a family.

    ``describe`` writes the metadata, ``factors`` gives tensors that are computed from the config.
    ``blocks`` and ``outside`` name the required weights, in each layer and outside of the layers.
    """

    architecture: str
    describe: Callable[[gguf.GGUFWriter, Config], None]
    blocks: tuple[str, ...]
    outside: tuple[str, ...] = ("token_embd", "output_norm")
    activations: tuple[str, ...] = ("silu",)
    factors: Callable[[Config], Factors] = _no_factors
    defaults: Mapping[str, Any] = field(default_factory=dict)
    prefixes: tuple[str, ...] = ()
    turned: bool = False
    """Whether llama.cpp expects the two halves of a head, which RoPE rotates, interleaved."""
    norm_shift: float = 0.0
    half: bool = True
    biased: bool = False
    """Whether every weight of a layer has a bias."""
    always_tied: bool = False
    trimmed: bool = False
    """Whether the embeddings have unused rows after those of the vocabulary."""
    sees: bool = False
    """Whether a vision tower is converted with the language model, if the config has one."""

    @property
    def kind(self) -> gguf.MODEL_ARCH:
        """The architecture as the gguf package numbers it."""
        return next(k for k, name in gguf.MODEL_ARCH_NAMES.items() if name == self.architecture)

    @property
    def file_type(self) -> gguf.LlamaFileType:
        """The type of most of the weights in the new file."""
        kinds = gguf.LlamaFileType
        return kinds.MOSTLY_F16 if self.half else kinds.ALL_F32

    def short(self, name: str) -> str:
        """Return the name of a tensor without the prefixes that differ between models."""
        for prefix in self.prefixes:
            if name.startswith(prefix):
                return name.replace(prefix, "model." if "language_model" in prefix else "", 1)
        return name

    def rename(self, blocks: int) -> Callable[[str], str | None]:
        """Return the GGUF name of a tensor, or None if it has none."""
        table = gguf.get_tensor_name_map(self.kind, blocks)
        return lambda name: table.get_name(self.short(name), _KINDS)

    def order(self, name: str, rows: int, heads: int, kv_heads: int) -> NDArray[np.intp] | None:
        """Return the order in which llama.cpp expects the rows of a weight, None if unchanged."""
        count = {"attn_q": heads, "attn_k": kv_heads}.get(name.split(".")[-2])
        if not self.turned or not count:
            return None
        return np.arange(rows).reshape(count, 2, -1).swapaxes(1, 2).ravel()

    def tensors(self, stored: Mapping[str, Stored], config: Config) -> list[Tensor]:
        """Plan the tensors of the new file. Raises ConversionError."""
        count = config.number("num_hidden_layers")
        if not 0 < count <= MOST_LAYERS:
            raise ConversionError(f"invalid number of layers: {count}")
        rename = self.rename(count)
        tied = self.always_tied or config.get("tie_word_embeddings", False)
        planned: dict[str, Tensor] = {}
        for name, source in stored.items():
            if _UNUSED.match(self.short(name)):
                continue
            renamed = rename(name)
            if tied and (renamed == "output.weight" or name.endswith("lm_head.weight")):
                continue
            if renamed is None:
                raise ConversionError(f'unexpected tensor "{name}"')
            planned[renamed] = self._tensor(renamed, source, config)
        self._check(planned, count, tied)
        for name, values in self.factors(config).items():
            planned[name] = Tensor(name, Stored.of(values))
        return list(planned.values())

    def _tensor(self, name: str, source: Stored, config: Config) -> Tensor:
        is_norm = name.endswith("norm.weight")
        wide = len(source.shape) < 2 or is_norm or name in _ALWAYS_WIDE
        kv_heads = config.get("num_key_value_heads", config.heads)
        return Tensor(
            name,
            source,
            half=self.half and not wide,
            order=self.order(name, source.shape[0], config.heads, kv_heads),
            shift=self.norm_shift if is_norm else 0.0,
        )

    def _check(self, tensors: Mapping[str, Tensor], count: int, tied: bool) -> None:
        wanted = {f"{name}.weight" for name in self.outside}
        if "output_norm" in self.outside and not tied:
            wanted.add("output.weight")
        for number in range(count):
            for kind in _KINDS if self.biased else _KINDS[:1]:
                wanted |= {f"blk.{number}.{name}{kind}" for name in self.blocks}
        missing = sorted(wanted - tensors.keys())
        if missing:
            raise ConversionError(f"tensor {missing[0]} is missing")
