"""Everything this package uses of llama.cpp and ggml beyond their documented interfaces.

All of it was checked against one release of llama-cpp-python, which pyproject.toml pins. Another
one may have other structs, messages or log lines; so layouts are compared before anything is
written, and each use has a fallback. The steps for raising the pin are in the test of this module,
``tests/engine/test_engine_llama_internals.py``.

ggml is reached through the library that the bindings opened: a wheel holds three copies of each
shared library, and a second one in the process would have other devices.
"""

from __future__ import annotations

import ctypes
import logging
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import llama_cpp
import llama_cpp.llama_cpp as llama

try:
    # Staging functions of llama.cpp: another version may lack them.
    from llama_cpp.llama_cpp_ext import llama_get_embeddings_nextn, llama_set_embeddings_nextn
except (ImportError, AttributeError):
    has_nextn = False
else:
    has_nextn = True

__all__ = [
    "DEVICE_FUNCTIONS",
    "RPC_HELLO",
    "RPC_REGISTRY",
    "TESTED_VERSION",
    "Buffer",
    "extra_buffers_are_safe",
    "ggml",
    "has_nextn",
    "is_tested",
    "library_files",
    "llama_get_embeddings_nextn",
    "llama_set_embeddings_nextn",
    "log_faults",
    "log_missing_sizes",
    "replace_memory_report",
    "reported_buffer",
    "reports_interruption",
    "rpc_function",
    "self_test",
]

log = logging.getLogger(__name__)

TESTED_VERSION = "0.3.36"
"""The release of llama-cpp-python that this module describes."""

RPC_HELLO = bytes([14]) + (24).to_bytes(8, "little") + bytes(24)
"""The first message of an RPC client: command, length, and its capabilities besides TCP: none
(ggml-rpc.cpp)."""

RPC_REGISTRY = b"RPC"
"""ggml's name of this backend."""

_STRUCT_SIZES = {
    "llama_model_params": 80,
    "llama_context_params": 160,
    "llama_batch": 56,
    "llama_token_data": 12,
}
_MODEL_DEFAULTS = {"n_gpu_layers": -1, "split_mode": 1, "use_extra_bufts": True, "load_mtp": False}
_CONTEXT_DEFAULTS = {"n_ctx": 512, "n_seq_max": 1, "type_k": 1, "type_v": 1, "swa_full": True}
"""Values that llama.cpp returns in fields from the first to the last of these structs."""

DEVICE_FUNCTIONS = 15
"""Function pointers of ``ggml_backend_device_i`` (ggml-backend-impl.h), which a device begins with;
a pointer to its registry follows."""
_GET_MEMORY = 2
"""The index of ``get_memory`` among them."""

_GetMemory = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_size_t)
)

_BUFFER_LINE = re.compile(
    r"(\S+)\s+(model|KV|RS|DSV4 \S+ state|LoRA|compute|output) buffer size\s*=\s*([\d.]+) MiB"
)
_CACHE_LINE = re.compile(r": size =\s*([\d.]+) MiB \(\s*\d+ cells")
_INTERRUPTED_LINE = re.compile(
    r"compute status: 1$|compute_async failed with error 1$|failed to decode, ret = 2$"
    r"|removing memory module entries"
)


def ggml(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Return a function of the ggml that llama.cpp uses. Raises AttributeError without one."""
    function: Callable[..., Any] = llama._lib[name]
    function.restype, function.argtypes = result, arguments  # type: ignore[attr-defined]
    return function


def library_files() -> list[Path]:
    """Return the files of the llama.cpp and ggml that are loaded. Raises OSError."""
    folder = Path(llama._lib._name).parent
    return [path for path in folder.iterdir() if "llama" in path.name or "ggml" in path.name]


@cache
def extra_buffers_are_safe() -> bool:
    """Return whether this build of ggml may repack weights for kernels of its own.

    It may not if it was built with kernels for AMX, which are among them: GCC before 11.5, 12.4 and
    13.3 compiles them to code that ends the process (GCC bug 114098), and a library does not
    reveal its compiler. The builds of this project leave AMX off.
    """
    return b"AMX_INT8 = 1" not in llama.llama_print_system_info()


def rpc_function(name: str, result: Any, *arguments: Any) -> Callable[..., Any] | None:
    """Return a function of ggml's RPC backend, None for a build without it."""
    registry = ggml("ggml_backend_reg_by_name", ctypes.c_void_p, ctypes.c_char_p)(RPC_REGISTRY)
    if not registry:
        return None
    find = ggml(
        "ggml_backend_reg_get_proc_address", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p
    )
    address = find(registry, name.encode())
    return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None


class Buffer(NamedTuple):
    """A buffer of llama.cpp: its use, whether it is in host memory, and its size in bytes.

    llama.cpp reports a cache twice: as "KV" and "RS" for each device, and as "cache" for all of
    them, which is the only valid size while nothing is allocated.
    """

    use: str
    on_host: bool
    size: float


def reported_buffer(line: str) -> Buffer | None:
    """Return the buffer that a line of llama.cpp's log reports, None for any other line."""
    if found := _BUFFER_LINE.search(line):
        on_host = found[1].startswith(("CPU", "AMX")) or found[1].endswith("_Host")
        return Buffer(found[2], on_host, float(found[3]) * 2**20)
    if found := _CACHE_LINE.search(line):
        return Buffer("cache", True, float(found[1]) * 2**20)
    return None


def reports_interruption(line: str) -> bool:
    """Return whether a line of the log reports a batch that was interrupted on purpose."""
    return bool(_INTERRUPTED_LINE.search(line.strip()))


def replace_memory_report(
    device: int, report: Callable[[int, int, int], tuple[int, int]]
) -> object | None:
    """Let ``report(device, free, total)`` correct the bytes that a device reports.

    ``device`` is the address of a ggml device. Returns what must be kept alive as long as the
    device is used; None, with nothing changed, where the device has not the known layout.
    """
    if not _has_known_functions(device):
        return None
    slot = ctypes.c_void_p.from_address(device + _GET_MEMORY * ctypes.sizeof(ctypes.c_void_p))
    original = _GetMemory(slot.value or 0)

    def get_memory(device: int, free: Any, total: Any) -> None:
        original(device, free, total)
        free[0], total[0] = report(device, free[0], total[0])

    callback = _GetMemory(get_memory)
    slot.value = ctypes.cast(callback, ctypes.c_void_p).value
    return callback


def _has_known_functions(device: int) -> bool:
    """Compare the table of functions that a device begins with to what ggml's functions return."""
    # Pointers to the device's registry and to its own data follow the table.
    words = (ctypes.c_void_p * (DEVICE_FUNCTIONS + 2)).from_address(device)
    registry = ggml("ggml_backend_dev_backend_reg", ctypes.c_void_p, ctypes.c_void_p)(device)
    if not registry or words[DEVICE_FUNCTIONS] != registry or not words[_GET_MEMORY]:
        return False
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _GetMemory(words[_GET_MEMORY] or 0)(device, free, total)
    size = ctypes.POINTER(ctypes.c_size_t)
    expected = ctypes.c_size_t()
    ask = ggml("ggml_backend_dev_memory", None, ctypes.c_void_p, size, size)
    ask(device, ctypes.byref(free), ctypes.byref(expected))
    return total.value == expected.value


def is_tested() -> bool:
    """Return whether the installed release is the one that this module describes."""
    return bool(llama_cpp.__version__ == TESTED_VERSION)


@cache
def self_test() -> tuple[str, ...]:
    """Return how the installed llama-cpp-python differs from the tested one; empty if it does not.

    llama.cpp's backends must have been initialized.
    """
    faults = []
    if not is_tested():
        faults.append(f"the version is {llama_cpp.__version__}")
    for name, size in _STRUCT_SIZES.items():
        if (found := ctypes.sizeof(getattr(llama, name))) != size:
            faults.append(f"struct {name} has {found} bytes instead of {size}")
    for params, defaults in (
        (llama.llama_model_default_params(), _MODEL_DEFAULTS),
        (llama.llama_context_default_params(), _CONTEXT_DEFAULTS),
    ):
        for name, value in defaults.items():
            if (found := getattr(params, name)) != value:
                faults.append(f"{type(params).__name__}.{name} is {found} instead of {value}")
    count = ggml("ggml_backend_dev_count", ctypes.c_size_t)()
    get = ggml("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    if not all(map(_has_known_functions, map(get, range(count)))):
        faults.append("ggml's table of device functions has another layout")
    if not has_nextn:
        faults.append("the functions for heads that predict further tokens are missing")
    return tuple(faults)


@cache
def log_faults() -> None:
    """Log once what the self-test found."""
    if faults := self_test():
        log.warning(
            "llama-cpp-python differs from the tested release %s; install that one if models fail "
            "to load or memory is reported wrongly: %s",
            TESTED_VERSION,
            "; ".join(faults),
        )


@cache
def log_missing_sizes() -> None:
    """Log once that llama.cpp's log does not state the sizes of its buffers."""
    log.warning("llama.cpp reports no buffer sizes: memory is estimated from the model file")
