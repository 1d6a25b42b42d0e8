"""The sizes of weights and contexts, read from the header of a GGUF, in bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..library.gguf import Header
from ..options import KV_CACHE_TYPES

CACHE_BYTES = {"f32": 4.0, **KV_CACHE_TYPES}
"""Bytes of one value in a KV cache of each type."""

MOST_LAYERS = 512
"""The most layers that llama.cpp accepts, whatever a header says."""

_LAYER = re.compile(r"(?:^|\.)blk\.(\d+)\.")
EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
"""The names of routed experts' tensors, their biases and scales: a token needs few of them. It is
the pattern of llama.cpp's ``--n-cpu-moe``; shared experts do not match."""
_EXPERTS = re.compile(EXPERTS)
_RECURRENT = ("ssm.", "wkv.", "shortconv.", "kda.")


@dataclass(frozen=True)
class Weights:
    """The weights of each repeating layer, and of the layers before and after them.

    ``output_on_gpu`` is the size of the output layer on a GPU: there it cannot share the table of
    the input, which always stays on the host. ``experts`` is the part of each layer that routed
    experts take, empty without any.
    """

    layers: tuple[int, ...]
    input: int = 0
    output: int = 0
    output_on_gpu: int = 0
    experts: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """The bytes on a host without a GPU."""
        return sum(self.layers) + self.input + self.output

    def loaded(self) -> Weights:
        """Return the weights that need memory once all are loaded: none."""
        return Weights((0,) * len(self.layers))

    def without(self, layers: Iterable[int]) -> Weights:
        """Return the weights without some layers."""
        left_out = set(layers)
        layers, experts = (
            tuple(0 if n in left_out else size for n, size in enumerate(sizes))
            for sizes in (self.layers, self.experts)
        )
        return replace(self, layers=layers, experts=experts)

    @classmethod
    def of(cls, header: Header, adapters: int = 0) -> Weights:
        """Read the sizes from a header; ``adapters`` are the sizes of their files together."""
        layers = [0] * layer_count(header)
        experts = layers.copy()
        before = after = shared = 0
        data_end = header.file_size - header.data_offset
        tensors = sorted(header.tensors, key=lambda tensor: tensor.offset)
        # By their offsets in the file, so that types which are unknown here count as well.
        ends = [*(tensor.offset for tensor in tensors), data_end][1:]
        for tensor, end in zip(tensors, ends, strict=True):
            size = max(0, end - tensor.offset)
            layer = _LAYER.search(tensor.name)
            if layer and int(layer[1]) < len(layers):
                layers[int(layer[1])] += size
                experts[int(layer[1])] += size * bool(_EXPERTS.search(tensor.name))
            elif tensor.name.startswith("output"):
                after += size
            else:
                before += size
                shared += size * (tensor.name == "token_embd.weight")
        tied = not any(tensor.name == "output.weight" for tensor in tensors)
        each = adapters // max(len(layers), 1)
        weighed = tuple(size + each for size in layers)
        routed = tuple(experts) if any(experts) else ()
        return cls(weighed, before, after, after + shared * tied, routed)


@dataclass(frozen=True)
class Demand:
    """The memory of a context, without the weights.

    ``cache`` is for all layers together, ``compute`` on every device that computes, ``outputs``
    (logits) on the host. ``divided`` takes the place of ``compute`` where layers on a GPU have
    their experts on the host: some GPUs copy these for a prompt. None stands for the same size.
    """

    cache: int
    compute: int
    outputs: int
    divided: int | None = None

    def doubled(self) -> Demand:
        """Return twice the demand."""
        divided = None if self.divided is None else 2 * self.divided
        return Demand(2 * self.cache, 2 * self.compute, 2 * self.outputs, divided)

    def compute_with(self, cpu_experts: int) -> int:
        """Return the compute buffer with the experts of ``cpu_experts`` layers on the host."""
        return self.divided if cpu_experts and self.divided is not None else self.compute


def layer_count(header: Header) -> int:
    """Return the number of repeating layers."""
    return min(int(header.get("block_count") or 0), MOST_LAYERS)


def cache_bytes_per_token(header: Header, cache_type: str) -> float:
    """Return the bytes a token takes in the KV cache, over all layers; rather too many."""
    # A list with a number for each layer is not read: full attention is counted then.
    heads = int(header.get("attention.head_count") or 1)
    kv_heads = int(header.get("attention.head_count_kv") or heads)
    width = int(header.get("embedding_length") or 0)
    per_head = width // heads
    key_length = int(header.get("attention.key_length") or per_head)
    value_length = int(header.get("attention.value_length") or per_head)
    return layer_count(header) * kv_heads * (key_length + value_length) * CACHE_BYTES[cache_type]


def has_states(header: Header) -> bool:
    """True for recurrent and hybrid models, whose sequences each own a state."""
    prefixes = tuple(f"{header.architecture}.{prefix}" for prefix in _RECURRENT)
    return any(key.startswith(prefixes) for key in header.metadata)


def rough_demand(
    header: Header, cache_type: str, *, cells: int, sequences: int, tokens: int
) -> Demand | None:
    """Estimate the demand of a plain transformer on the safe side, None for any other model.

    ``tokens`` is the size of one graph, ``sequences`` the number of rows of logits.
    """
    heads = header.get("attention.head_count")
    if has_states(header) or not heads:
        return None
    vocabulary = header.lengths.get("tokenizer.ggml.tokens", 0)
    width = int(header.get("embedding_length") or 0)
    inner = int(header.get("feed_forward_length") or 4 * width)
    experts = int(header.get("expert_used_count") or 1)
    # Logits of every token, the widest rows of a layer, and scores as without flash attention.
    row = vocabulary + 4 * width + 2 * inner * experts + heads * cells
    cache = int(cells * cache_bytes_per_token(header, cache_type))
    return Demand(cache, 4 * tokens * row, 4 * sequences * (vocabulary + width))
