"""Random weights in the shapes of real models, as the bytes of quantized tensors.

The weights are written as blocks, a few megabytes at a time: random bytes, and scales that give the
rows of every matrix the length 1, so that all activations stay finite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import gguf
import numpy as np
from numpy.typing import NDArray

Kind = gguf.GGMLQuantizationType
F32, Q4_K, Q6_K, Q8_0 = Kind.F32, Kind.Q4_K, Kind.Q6_K, Kind.Q8_0

PIECE = 1 << 22
"""Weights that are in memory at a time, about."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a model; ``words`` is the size of its vocabulary."""

    layers: int
    width: int
    feed: int
    heads: int
    kv_heads: int
    words: int
    length: int = 131_072

    @property
    def kv_width(self) -> int:
        """Values of a token's keys in one layer."""
        return self.width // self.heads * self.kv_heads

    def kv_bytes(self, cells: int) -> int:
        """Bytes of a KV cache of 16-bit numbers."""
        return 2 * 2 * self.layers * self.kv_width * cells


DECODERS = {
    "8b": Shape(32, 4096, 14336, 32, 8, 128_256),  # Llama 3.1 8B
    "1b": Shape(16, 2048, 8192, 32, 8, 128_256),  # Llama 3.2 1B, with an output matrix of its own
    "tiny": Shape(2, 256, 512, 4, 2, 4096),
}
ENCODERS = {
    "all-minilm": Shape(6, 384, 1536, 12, 12, 30_522, 512),
    "tiny": Shape(2, 64, 128, 2, 2, 512, 512),
}


@dataclass(frozen=True)
class Tensor:
    """A tensor to write: ``rows`` of ``width`` weights. The first ``silent`` rows are zero.

    ``size`` is the standard deviation of the weights, None for a vector of ones.
    """

    name: str
    kind: Kind
    rows: int
    width: int
    size: float | None = None
    silent: int = 0

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        weights, size = gguf.GGML_QUANT_SIZES[self.kind]
        return self.width // weights * size

    @property
    def bytes(self) -> int:
        """Bytes of all rows."""
        return self.rows * self.row_bytes

    def pieces(self, chance: np.random.Generator) -> Iterator[bytes]:
        """Yield the bytes of the tensor."""
        if self.size is None:
            yield np.ones(self.rows * self.width, np.float32).tobytes()
            return
        yield bytes(self.silent * self.row_bytes)
        step = max(1, PIECE // self.width)
        for start in range(self.silent, self.rows, step):
            rows = min(step, self.rows - start)
            yield random_weights(self.kind, rows * self.width, self.size, chance).tobytes()


def random_weights(
    kind: Kind, count: int, size: float, chance: np.random.Generator
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Return weights around 0 of standard deviation ``size`` in blocks of a type.

    The layouts are ggml's (ggml-common.h): all quants are random, all scales are equal.
    """
    if kind == F32:
        return chance.standard_normal(count, np.float32) * np.float32(size)
    weights, block = gguf.GGML_QUANT_SIZES[kind]
    blocks = count // weights
    words = chance.integers(0, 2**64 - 1, -(-blocks * block // 8), np.uint64, endpoint=True)
    data = words.view(np.uint8)[: blocks * block].reshape(blocks, block)

    def put(start: int, value: float) -> None:
        data[:, start : start + 2] = np.array([value], np.float16).view(np.uint8)

    # The deviation of evenly distributed whole numbers, of which a quant is one.
    steps = {Q4_K: 16, Q6_K: 64, Q8_0: 256}[kind]
    unit = size / math.sqrt((steps**2 - 1) / 12)
    if kind == Q8_0:
        put(0, unit)
    elif kind == Q6_K:
        data[:, 192:208] = 16  # scales of 8 bits
        put(208, unit / 16)
    else:
        # Scales and minima of 6 bits: 15 for all. A weight is d * 15 * quant - dmin * 15.
        data[:, 4:12], data[:, 12:16] = 15, 255
        put(0, unit / 15)
        put(2, unit / 15 * (steps - 1) / 2)
    return data


def decoder_tensors(shape: Shape, silent: int) -> list[Tensor]:
    """Return the tensors of a Llama, in the types that Q4_K_M gives them.

    The first ``silent`` tokens have the logit 0.
    """
    width, feed = shape.width, shape.feed

    def matrix(name: str, rows: int, columns: int, kind: Kind = Q4_K) -> Tensor:
        return Tensor(f"{name}.weight", kind, rows, columns, 1 / math.sqrt(columns))

    def ones(name: str) -> Tensor:
        return Tensor(f"{name}.weight", F32, 1, width)

    tensors = [
        Tensor("token_embd.weight", Q4_K, shape.words, width, 1.0),
        ones("output_norm"),
        Tensor("output.weight", Q6_K, shape.words, width, 1 / math.sqrt(width), silent),
    ]
    for layer in range(shape.layers):
        # llama.cpp gives more bits to the first and the last eighth, and to every third between.
        eighth = shape.layers // 8
        inner = eighth <= layer < shape.layers - eighth
        more = Q6_K if not inner or (layer - eighth) % 3 == 2 else Q4_K
        name = f"blk.{layer}."
        tensors += [
            ones(name + "attn_norm"),
            matrix(name + "attn_q", width, width),
            matrix(name + "attn_k", shape.kv_width, width),
            matrix(name + "attn_v", shape.kv_width, width, more),
            matrix(name + "attn_output", width, width),
            ones(name + "ffn_norm"),
            matrix(name + "ffn_gate", feed, width),
            matrix(name + "ffn_up", feed, width),
            matrix(name + "ffn_down", width, feed, more),
        ]
    return tensors


def encoder_tensors(shape: Shape) -> list[Tensor]:
    """Return the tensors of a BERT in Q8_0."""
    width, feed = shape.width, shape.feed

    def dense(name: str, rows: int, columns: int) -> list[Tensor]:
        size = 1 / math.sqrt(columns)
        bias = Tensor(f"{name}.bias", F32, 1, rows, 0.02)
        return [Tensor(f"{name}.weight", Q8_0, rows, columns, size), bias]

    def norm(name: str) -> list[Tensor]:
        return [Tensor(f"{name}.weight", F32, 1, width), Tensor(f"{name}.bias", F32, 1, width, 0.1)]

    tensors = [
        Tensor("token_embd.weight", Q8_0, shape.words, width, 1.0),
        Tensor("position_embd.weight", F32, shape.length, width, 0.1),
        Tensor("token_types.weight", F32, 2, width, 0.1),
        *norm("token_embd_norm"),
    ]
    for layer in range(shape.layers):
        name = f"blk.{layer}."
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensors += dense(name + part, width, width)
        tensors += norm(name + "attn_output_norm")
        tensors += dense(name + "ffn_up", feed, width) + dense(name + "ffn_down", width, feed)
        tensors += norm(name + "layer_output_norm")
    return tensors
