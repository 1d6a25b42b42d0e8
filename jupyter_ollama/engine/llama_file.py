"""Opening a model file in llama.cpp: as it is, with replaced metadata, or through a view.

Tensors may be kept on the host by their names.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama

from ..layout.c_files import as_path, has_streams, stream
from ..layout.model_file import ModelFile
from .footprint import EXPERTS
from .llama_internals import ggml

LOAD_MODES = {
    None: llama.LLAMA_LOAD_MODE_AUTO,
    True: llama.LLAMA_LOAD_MODE_MMAP,
    False: llama.LLAMA_LOAD_MODE_NONE,
}
"""llama.cpp's modes by ``use_mmap``."""


def load_file(file: ModelFile, params: llama.llama_model_params) -> llama.llama_model_p | None:
    """Load a file as it is, with some values replaced, or the view of it; None if llama.cpp fails.

    Raises LayoutError or OSError.
    """
    if file.view is None:
        if file.overrides:
            params.kv_overrides = _overrides(file.overrides)
        return llama.llama_model_load_from_file(str(file.path).encode(), params)
    # A stream cannot be mapped, neither at once nor on demand.
    params.load_mode = llama.LLAMA_LOAD_MODE_NONE
    params.lazy_mode = llama.LLAMA_LAZY_MODE_OFF
    if has_streams:
        with stream(file.view) as pointer:
            return llama.llama_model_load_from_file_ptr(ctypes.c_void_p(pointer), params)
    with as_path(file.view) as path:
        return llama.llama_model_load_from_file(str(path).encode(), params)


def return_pages(path: Path) -> None:
    """Return the pages of a mapped file to the system, which reads them again when they are used.

    llama.cpp copies the weights of layers on GPUs, and weights that the CPU needs in another order.
    The mapped pages of the originals would still count as memory of this process. Has no effect
    except on Linux.
    """
    if sys.platform != "linux":
        return
    # A file may be deleted while it is loaded.
    names = (str(path.resolve()), f"{path.resolve()} (deleted)")
    libc = ctypes.CDLL(None)
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        addresses, access, _, _, _, *name = line.split(maxsplit=5)
        # Private mappings may differ from their file, as the mappings of libraries do.
        if "s" in access and "w" not in access and name and name[0] in names:
            start, end = (int(address, 16) for address in addresses.split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), mmap.MADV_DONTNEED)


class _Override(ctypes.Structure):
    """llama.cpp's ``llama_model_tensor_buft_override``: where tensors go that match a pattern."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def keep_experts(params: llama.llama_model_params, layers: int) -> object:
    """Keep the experts of the first ``layers`` on the host.

    Returns the list of patterns, which must live until the model is loaded.
    """
    if not layers:
        return None
    # One pattern for all layers: llama.cpp compiles each of them anew for each tensor.
    numbers = "|".join(map(str, range(layers)))
    host = ggml("ggml_backend_cpu_buffer_type", ctypes.c_void_p)()
    # An empty entry ends the list.
    kept = (_Override * 2)(_Override(rf"blk\.({numbers}){EXPERTS}".encode(), host))
    params.tensor_buft_overrides = ctypes.cast(kept, ctypes.c_void_p)
    return kept


def _overrides(values: Mapping[str, Any]) -> ctypes.Array[llama.llama_model_kv_override]:
    """Encode metadata for llama.cpp, which ends the list at an empty key."""
    overrides: ctypes.Array[llama.llama_model_kv_override] = (
        llama.llama_model_kv_override * (len(values) + 1)
    )()
    for override, (key, value) in zip(overrides, values.items(), strict=False):
        override.key = key.encode()
        if isinstance(value, bool):
            override.tag = llama.LLAMA_KV_OVERRIDE_TYPE_BOOL
            override.value.val_bool = value
        elif isinstance(value, int):
            override.tag = llama.LLAMA_KV_OVERRIDE_TYPE_INT
            override.value.val_i64 = value
        elif isinstance(value, float):
            override.tag = llama.LLAMA_KV_OVERRIDE_TYPE_FLOAT
            override.value.val_f64 = value
        else:
            override.tag = llama.LLAMA_KV_OVERRIDE_TYPE_STR
            override.value.val_str = str(value).encode("utf-8", "replace")
    return overrides
