"""Rotary position embedding (RoPE, Su et al. 2021): settings and factors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import gguf
import numpy as np
from numpy.typing import NDArray

from .model_folder import Config, ConversionError

_PLAIN = ("default", "dynamic")
"""No scaling within the context that the model was trained for."""


class Rope(NamedTuple):
    """The settings. ``local_base`` is the base of layers with a sliding window, if it differs."""

    kind: str
    base: float
    local_base: float | None
    values: dict[str, Any]

    @classmethod
    def read(cls, config: Config) -> Rope:
        """Read the settings in the older or the newer form."""
        everything = config.get("rope_parameters") or config.get("rope_scaling") or {}
        values = everything.get("full_attention") or everything
        kind = values.get("rope_type") or values.get("type") or "default"
        local = (everything.get("sliding_attention") or {}).get("rope_theta")
        return cls(
            kind="longrope" if kind == "su" else kind,
            base=float(values.get("rope_theta") or config.get("rope_theta", 10000.0)),
            local_base=local or config.get("rope_local_base_freq"),
            values=values,
        )

    def number(self, key: str) -> float:
        """Return a required setting. Raises ConversionError."""
        value = self.values.get(key)
        if not isinstance(value, int | float):
            raise ConversionError(f"config.json has no {key} for its RoPE scaling")
        return value


def add_rope(writer: gguf.GGUFWriter, rope: Rope, special: tuple[str, ...]) -> None:
    """Write the settings. ``special`` are kinds of scaling that the family handles itself."""
    writer.add_rope_freq_base(rope.base)
    if rope.local_base is not None:
        writer.add_rope_freq_base_swa(rope.local_base)
    if rope.kind in (*_PLAIN, *special):
        return
    if rope.kind not in ("linear", "yarn"):
        raise ConversionError(f'unsupported RoPE scaling "{rope.kind}"')
    factor = rope.number("factor")
    writer.add_rope_scaling_type(gguf.RopeScalingType(rope.kind))
    writer.add_rope_scaling_factor(factor)
    if rope.kind == "yarn":
        _add_yarn(writer, rope, factor)


def add_no_scaling(writer: gguf.GGUFWriter, rope: Rope) -> None:
    """Write explicitly that positions are not scaled, where that is so."""
    if rope.kind in _PLAIN:
        writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
        writer.add_rope_scaling_factor(1.0)


def _add_yarn(writer: gguf.GGUFWriter, rope: Rope, factor: float) -> None:
    length = rope.number("original_max_position_embeddings")
    writer.add_rope_scaling_orig_ctx_len(int(length))
    for key, add in (
        ("beta_fast", writer.add_rope_scaling_yarn_beta_fast),
        ("beta_slow", writer.add_rope_scaling_yarn_beta_slow),
    ):
        if rope.values.get(key) is not None:
            add(rope.number(key))
    if rope.values.get("attention_factor") is not None:
        # llama.cpp multiplies this by the factor that it computes for YaRN.
        own = 0.1 * math.log(factor) + 1.0
        writer.add_rope_scaling_attn_factors(rope.number("attention_factor") / own)


def llama3_factors(config: Config, rope: Rope) -> NDArray[np.float32]:
    """Return the factor by which Llama 3.1 and later divide each frequency."""
    width = config.head_width
    factor = rope.number("factor")
    low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
    trained = rope.number("original_max_position_embeddings")
    lengths = 2 * math.pi * rope.base ** (np.arange(0, width, 2, dtype=np.float64) / width)
    blend = (trained / lengths - low) / (high - low)
    between = 1 / ((1 - blend) / factor + blend)
    factors = np.where(lengths < trained / high, 1.0, between)
    return np.where(lengths > trained / low, factor, factors).astype(np.float32)
