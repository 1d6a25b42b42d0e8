"""The devices llama.cpp computes on and their free memory."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .llama_internals import ggml

CPU, GPU, INTEGRATED_GPU = 0, 1, 2
"""ggml's types of devices that hold layers; BLAS and similar ones compute in the CPU's memory."""

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
RUNNER = b"jupyter_ollama.engine.runner"

RPC = "RPC"
"""The prefix of ggml's names for devices of other hosts."""


@dataclass(frozen=True)
class Device:
    """One device of ggml, with its memory in bytes. A remote one belongs to another host."""

    name: str
    free: int
    total: int
    is_cpu: bool
    is_remote: bool = False
    pointer: int = 0

    def without(self, size: int) -> Device:
        """Return the device without ``size`` bytes of its memory."""
        return replace(self, free=max(0, self.free - size), total=max(0, self.total - size))


def devices(*, reserved: int = 0) -> list[Device]:
    """List the devices that llama.cpp puts layers on, in its order: remote ones, GPUs, the CPU.

    ggml counts all memory of the host as free; this uses `available_memory`. ``reserved`` bytes of
    each GPU, remote ones too, do not count.
    """
    found = list(_all_devices())
    remote = [device for _, device in found if device.is_remote]
    listed = [*remote, *_of_host(found, available_memory())]
    return [device if device.is_cpu else device.without(reserved) for device in listed]


def devices_now() -> list[Device]:
    """List the devices of this host faster: memory that the kernel calls available is free."""
    return _of_host(_all_devices(remote=False), _left_to_take())


def _of_host(found: Iterable[tuple[int, Device]], available: int | None) -> list[Device]:
    found = [(kind, device) for kind, device in found if not device.is_remote]
    # llama.cpp uses integrated GPUs only where there are no others.
    gpus = [device for kind, device in found if kind == GPU]
    gpus = gpus or [device for kind, device in found if kind == INTEGRATED_GPU]
    hosts = [device for kind, device in found if kind == CPU]
    if available is not None:
        hosts = [replace(host, free=min(host.free, available)) for host in hosts]
    return [*gpus, *hosts]


def _all_devices(*, remote: bool = True) -> Iterator[tuple[int, Device]]:
    size = ctypes.POINTER(ctypes.c_size_t)
    count = ggml("ggml_backend_dev_count", ctypes.c_size_t)
    get = ggml("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    name_of = ggml("ggml_backend_dev_name", ctypes.c_char_p, ctypes.c_void_p)
    type_of = ggml("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    read_memory = ggml("ggml_backend_dev_memory", None, ctypes.c_void_p, size, size)
    for index in range(count()):
        device = get(index)
        name = name_of(device).decode()
        is_remote = name.startswith(RPC)
        if is_remote and not remote:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        read_memory(device, ctypes.byref(free), ctypes.byref(total))
        kind = type_of(device)
        yield kind, Device(name, free.value, total.value, kind == CPU, is_remote, device)


def available_memory() -> int | None:
    """Return the bytes of host memory that may still be allocated, None if unknown.

    It is the memory that the kernel calls available, within the limits of this process's control
    groups. Mapped weights of runners count as allocated, although the kernel could drop them.
    """
    left = _left_to_take()
    return None if left is None else max(0, left - _mapped_by_runners())


def total_memory() -> int | None:
    """Return the bytes of memory of this host, or of its control groups; None if unknown."""
    try:
        sizes = [_fields(PROC / "meminfo")["MemTotal"] * 1024]
    except (OSError, KeyError):
        return None
    for folder, limit, _ in _memory_groups():
        with suppress(OSError, ValueError):
            sizes.append(int((folder / limit).read_text()))
    return min(sizes)


def own_memory() -> int:
    """Return the bytes of private memory of this process, 0 if unknown."""
    try:
        return _fields(PROC / "self/status").get("RssAnon", 0) * 1024
    except OSError:
        return 0


def _left_to_take() -> int | None:
    try:
        fields = _fields(PROC / "meminfo")
    except OSError:
        return None
    return max(0, min([fields["MemAvailable"] * 1024, *_left_in_groups()]))


def _fields(path: Path) -> dict[str, int]:
    """Read a file of lines that begin with a name and a number."""
    words = (line.replace(":", " ").split() for line in path.read_text().splitlines())
    return {word[0]: int(word[1]) for word in words if len(word) > 1 and word[1].isdigit()}


def _left_in_groups() -> Iterator[int]:
    """Yield the free bytes of each control group of this process; cached files count as free."""
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
    """Yield the folders of this process's groups up to the root, and their limit and use files."""
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
        # In a container the name may belong to the host's tree; the root is the container's then.
        for one in (folder, *folder.parents):
            if one.is_relative_to(root):
                yield one, *files


def _mapped_by_runners() -> int:
    """Return the bytes of files that the runners on this host, this one included, have mapped."""
    total = 0
    for folder in PROC.glob("[0-9]*"):
        try:
            if RUNNER in (folder / "cmdline").read_bytes():
                total += _fields(folder / "status").get("RssFile", 0) * 1024
        except OSError:  # it has just ended, or belongs to another user
            continue
    return total


def physical_threads() -> int:
    """Return the physical cores that this process may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    smt = Path("/sys/devices/system/cpu/smt/active")
    siblings = 2 if smt.exists() and smt.read_text().strip() == "1" else 1
    return max(1, (allowed or 1) // siblings)
