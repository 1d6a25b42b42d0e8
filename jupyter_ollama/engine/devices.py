"""The devices llama.cpp computes on and their free memory."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import llama_cpp
from llama_cpp._ggml import libggml

CPU, GPU, INTEGRATED_GPU = 0, 1, 2
"""ggml's types of devices that hold layers; BLAS and its like compute on the CPU's memory."""

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
RUNNER = b"jupyter_ollama.engine.runner"


@dataclass(frozen=True)
class Device:
    """One device of ggml, with its memory in bytes."""

    name: str
    free: int
    total: int
    is_cpu: bool


def devices() -> list[Device]:
    """List the devices that llama.cpp puts layers on, the GPUs in its order.

    ggml takes all memory of the host for free; see `available_memory`.
    """
    found = list(_all_devices())
    # llama.cpp uses integrated GPUs only where there are no others.
    gpus = [device for kind, device in found if kind == GPU]
    gpus = gpus or [device for kind, device in found if kind == INTEGRATED_GPU]
    available = available_memory()
    hosts = [device for kind, device in found if kind == CPU]
    if available is not None:
        hosts = [replace(host, free=min(host.free, available)) for host in hosts]
    return [*gpus, *hosts]


def _all_devices() -> Iterator[tuple[int, Device]]:
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
    for index in range(registry.ggml_backend_dev_count()):
        device = registry.ggml_backend_dev_get(index)
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        base.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
        name = base.ggml_backend_dev_name(device).decode()
        kind = base.ggml_backend_dev_type(device)
        yield kind, Device(name, free.value, total.value, is_cpu=kind == CPU)


def _library(stem: str) -> Path:
    folder = Path(llama_cpp.__file__).parent / "lib"
    return next(path for path in sorted(folder.iterdir()) if path.name.startswith(stem))


def available_memory() -> int | None:
    """Return the bytes of host memory that may still be taken, None where nobody tells.

    It is what the kernel calls available, and no more than the control groups of this process
    allow. Weights that runners have mapped count as taken, though the kernel would give them up.
    """
    try:
        fields = _fields(PROC / "meminfo")
    except OSError:
        return None
    free = [fields["MemAvailable"] * 1024, *_left_in_groups()]
    return max(0, min(free) - _mapped_by_runners())


def _fields(path: Path) -> dict[str, int]:
    """Read a file of lines that begin with a name and a number."""
    words = (line.replace(":", " ").split() for line in path.read_text().splitlines())
    return {word[0]: int(word[1]) for word in words if len(word) > 1 and word[1].isdigit()}


def _left_in_groups() -> Iterator[int]:
    """What each control group above this process leaves of its limit; files in memory are free."""
    for folder, limit, used in _memory_groups():
        try:
            most = (folder / limit).read_text().strip()
            stat = _fields(folder / "memory.stat")
            taken = int((folder / used).read_text())
        except (OSError, ValueError):
            continue
        if most.isdigit():
            prefix = "total_" if "total_inactive_file" in stat else ""
            cached = (stat.get(f"{prefix}{age}_file", 0) for age in ("active", "inactive"))
            yield int(most) - taken + sum(cached)


def _memory_groups() -> Iterator[tuple[Path, str, str]]:
    """The folders of this process's groups up to the root, and their files of limit and use."""
    try:
        lines = (PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if not controllers:
            root, files = CGROUP, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root, files = CGROUP / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        folder = root / name.lstrip("/")
        # In a container the name may be that of the host's tree; the root is ours then.
        for one in (folder, *folder.parents):
            if one.is_relative_to(root):
                yield one, *files


def _mapped_by_runners() -> int:
    """Bytes of files that the runners on this host, this one among them, have in memory."""
    total = 0
    for folder in PROC.glob("[0-9]*"):
        try:
            if RUNNER in (folder / "cmdline").read_bytes():
                total += _fields(folder / "status").get("RssFile", 0) * 1024
        except OSError:  # it has just ended, or it is not ours to look at
            continue
    return total


def physical_threads() -> int:
    """Return the cores this process may use, hyper-threads counted once."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    smt = Path("/sys/devices/system/cpu/smt/active")
    siblings = 2 if smt.exists() and smt.read_text().strip() == "1" else 1
    return max(1, (allowed or 1) // siblings)
