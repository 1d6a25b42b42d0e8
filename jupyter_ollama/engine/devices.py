"""The devices llama.cpp computes on, and how many layers of a model they can take."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

import llama_cpp
from llama_cpp._ggml import libggml

from ..library.gguf import Header

CPU = 0
"""ggml's type of the CPU device; all others hold memory of their own or share it."""

COMPUTE_RESERVE = 512 * 2**20
"""Bytes kept free on a device for compute buffers and the driver."""

CACHE_BYTES = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes of one value in a KV cache of each type."""


@dataclass(frozen=True)
class Device:
    """One device of ggml, with its memory in bytes as the driver reports it."""

    name: str
    free: int
    total: int
    is_cpu: bool


def devices() -> list[Device]:
    """List what ggml's own device API knows."""
    # The registry lives in libggml, the getters in libggml-base; both are loaded by now.
    base = ctypes.CDLL(str(_library("libggml-base")))
    registry = libggml
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_dev_get.restype = ctypes.c_void_p
    registry.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    base.ggml_backend_dev_name.restype = ctypes.c_char_p
    base.ggml_backend_dev_name.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    size = ctypes.POINTER(ctypes.c_size_t)
    base.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, size, size]
    found = []
    for index in range(registry.ggml_backend_dev_count()):
        device = registry.ggml_backend_dev_get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        base.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = base.ggml_backend_dev_name(device).decode()
        is_cpu = base.ggml_backend_dev_type(device) == CPU
        found.append(Device(name, free.value, total.value, is_cpu))
    return found


def _library(stem: str) -> Path:
    folder = Path(llama_cpp.__file__).parent / "lib"
    return next(path for path in sorted(folder.iterdir()) if path.name.startswith(stem))


def cache_bytes_per_token(header: Header, cache_type: str) -> float:
    """Return the bytes a token takes in the KV cache, over all layers."""
    key = header.architecture
    layers = int(header.metadata.get(f"{key}.block_count") or 0)
    heads = header.metadata.get(f"{key}.attention.head_count") or 1
    kv_heads = header.metadata.get(f"{key}.attention.head_count_kv") or heads
    width = int(header.metadata.get(f"{key}.embedding_length") or 0)
    if not isinstance(heads, int) or not isinstance(kv_heads, int):
        heads = kv_heads = 1  # a number per layer: count full attention, the safe side
    per_head = width // max(heads, 1)
    key_length = int(header.metadata.get(f"{key}.attention.key_length") or per_head)
    value_length = int(header.metadata.get(f"{key}.attention.value_length") or per_head)
    return layers * kv_heads * (key_length + value_length) * CACHE_BYTES[cache_type]


def plan_gpu_layers(header: Header, model_bytes: int, cache_bytes: float) -> int:
    """Return how many layers fit the free memory of the GPUs: -1 for all, 0 without a GPU.

    Sizes in bytes. A layer is taken to weigh the same as any other.
    """
    free = sum(max(0, d.free - COMPUTE_RESERVE) for d in devices() if not d.is_cpu)
    layers = int(header.metadata.get(f"{header.architecture}.block_count") or 0)
    need = model_bytes + cache_bytes
    if free <= 0:
        return 0
    if need <= free or not layers:
        return -1
    return int(layers * free / need)


def physical_threads() -> int:
    """Return the cores this process may use, hyper-threads counted once."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    smt = Path("/sys/devices/system/cpu/smt/active")
    siblings = 2 if smt.exists() and smt.read_text().strip() == "1" else 1
    return max(1, (allowed or 1) // siblings)
