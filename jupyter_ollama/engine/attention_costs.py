"""Measures what attention costs on this processor: computed in tiles, and row by row.

With flash attention, llama.cpp's kernel for CPUs works in tiles if a batch has at least 64 tokens,
and else row by row. How much longer a row takes than its part of a tile depends on the processor
and on the heads of the model: 1.4 to 4 times where the size of a head is a multiple of ggml's
steps, else up to 20 times.
"""

from __future__ import annotations

import ctypes
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import llama_cpp.llama_cpp as llama
import numpy as np

from .llama_internals import ggml
from .llama_model import LlamaModel
from .reading_order import NEVER, TILE

ROW_COST = 4.0
"""Assumed seconds of a row, as a multiple of its part of a tile, where they cannot be measured."""

CELLS, ROWS, HEADS, REPEATS = 512, 8, 4, 4
"""The size of the measurement, which takes some 10 ms."""

_MEMORY = 1 << 24
"""Bytes for the tensors of the measurement and the kernel's own memory."""


_STEPS = {"avx512f": 64, "f16c": 32}
"""The numbers that ggml multiplies at once in a row of attention, by features of the processor."""

_WEIGHTS_PER_CELL = 36
"""20 tokens take as long row by row as in a tile with 44 fillers, on an Intel Xeon, behind
weights / (this number * layers * heads * numbers of a head that are computed one by one) tokens."""


LEAST_FILLED = 512
"""Tokens before a part of a prompt up to which rows take little time in any model."""


def filled_from(model: LlamaModel) -> int:
    """Return behind how many tokens fillers should complete a part of a prompt to a tile.

    That pays where the size of a head is no multiple of ggml's steps, since ggml computes the rest
    of a head number by number. Each filler is multiplied with all weights; the attention by rows
    that fillers save grows with the tokens before, so large models take fillers later. The result
    depends on the model and on the kind of processor, not on a measurement, which other work on the
    host distorts: all runners must decide alike, to give the same answers.
    """
    heads, _, size = _heads(model)
    alone = size % _step()
    if not alone:
        return NEVER
    weights: int = llama.llama_model_n_params(model.pointer)
    weights -= model.n_vocab * llama.llama_model_n_embd(model.pointer)
    layers: int = llama.llama_model_n_layer(model.pointer)
    cells = weights / (_WEIGHTS_PER_CELL * layers * heads * alone)
    return max(round(cells / TILE) * TILE, LEAST_FILLED)


@cache
def _step() -> int:
    """Return how many numbers ggml multiplies at once, 1 if that is unknown."""
    try:
        features = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return 1
    return next((step for name, step in _STEPS.items() if name in features), 1)


def _heads(model: LlamaModel) -> tuple[int, int, int]:
    """Return the heads of a layer, its heads of keys, and the numbers of a head."""
    heads = max(llama.llama_model_n_head(model.pointer), 1)
    key_heads = max(llama.llama_model_n_head_kv(model.pointer), 1)
    length = model.metadata(f"{model.architecture}.attention.key_length")
    size = int(length) if length else llama.llama_model_n_embd(model.pointer) // heads
    return heads, key_heads, size


class _InitParams(ctypes.Structure):
    """``ggml_init_params``."""

    _fields_ = (
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    )


class AttentionCosts(NamedTuple):
    """The seconds of a token's attention to one other token, in all layers."""

    tile: float = 0.0
    row: float = 0.0

    @property
    def row_cost(self) -> float:
        """The cost of a row as a multiple of its part of a tile."""
        return max(self.row / self.tile, 1.0) if self.tile else ROW_COST


def measure_attention(model: LlamaModel, threads: int) -> AttentionCosts:
    """Return the costs of attention with flash attention on the CPU, zeros if that is unknown."""
    heads, key_heads, size = _heads(model)
    group = max(heads // key_heads, 1)
    measured = group * max(min(HEADS // group, key_heads), 1)
    scale = llama.llama_model_n_layer(model.pointer) * heads / measured / threads
    try:
        row, tile = (
            _seconds(rows, size, measured, measured // group) * scale / (rows * CELLS)
            for rows in (ROWS, TILE)
        )
    except AttributeError:  # another build of ggml
        return AttentionCosts()
    return AttentionCosts(tile, row)


def _seconds(rows: int, size: int, heads: int, key_heads: int) -> float:
    """Return how long the attention of ``rows`` tokens to CELLS others takes in one layer.

    The result is processor time of one thread, which other work on the host hardly lengthens.
    """
    pointer, i64 = ctypes.c_void_p, ctypes.c_int64
    new = ggml("ggml_new_tensor_4d", pointer, pointer, ctypes.c_int, i64, i64, i64, i64)
    elements = ggml("ggml_nelements", i64, pointer)
    address = ggml("ggml_get_data", pointer, pointer)
    clear = ggml("ggml_set_zero", pointer, pointer)
    scalars = [ctypes.c_float] * 3
    attend = ggml("ggml_flash_attn_ext", pointer, *[pointer] * 5, *scalars)
    expand = ggml("ggml_build_forward_expand", None, pointer, pointer)
    compute = ggml("ggml_graph_compute_with_ctx", ctypes.c_int, pointer, pointer, ctypes.c_int)
    new_graph = ggml("ggml_new_graph", pointer, pointer)
    context = ggml("ggml_init", pointer, _InitParams)(_InitParams(_MEMORY, None, False))
    try:
        f32, f16 = llama.GGML_TYPE_F32, llama.GGML_TYPE_F16
        queries = new(context, f32, size, rows, heads, 1)
        keys, values = (new(context, f16, size, CELLS, key_heads, 1) for _ in range(2))
        mask = new(context, f16, CELLS, rows, 1, 1)
        clear(mask)
        # Numbers near 0 take longer on some processors than zeros.
        random = np.random.default_rng(0)
        for tensor, kind in ((queries, np.float32), (keys, np.float16), (values, np.float16)):
            data = random.normal(size=elements(tensor)).astype(kind)
            ctypes.memmove(address(tensor), data.ctypes.data, data.nbytes)
        graph = new_graph(context)
        expand(graph, attend(context, queries, keys, values, mask, size**-0.5, 0.0, 0.0))
        times = []
        for _ in range(REPEATS):
            start = time.thread_time()
            compute(context, graph, 1)
            times.append(time.thread_time() - start)
        return min(times)
    finally:
        ggml("ggml_free", None, pointer)(context)
