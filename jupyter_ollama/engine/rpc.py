"""llama.cpp's RPC: a model on the devices of several hosts, and lending those of this one.

A worker holds its devices for one runner at a time, from the load of a model to its end. llama.cpp
aborts a runner whose worker is lost.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .devices import Device, available_memory, devices, ggml, own_memory, physical_threads
from .llama_model import LoadError
from .memory_plan import MemoryShortage

NO_RPC = (
    "this llama-cpp-python was built without RPC; install it again with "
    "CMAKE_ARGS=-DGGML_RPC=on pip install --force-reinstall --no-cache-dir "
    "--no-binary llama-cpp-python llama-cpp-python"
)

REGISTRY = b"RPC"
"""ggml's name of this backend."""

HELLO = bytes([14]) + (24).to_bytes(8, "little") + bytes(24)
"""The first message of a client: number, length, and what it can do besides TCP: nothing."""

ANSWER_SECONDS = 3.0
"""How long an idle worker may take to answer it."""

GetMemory = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t), ctypes.POINTER(ctypes.c_size_t)
)
GET_MEMORY_SLOT = 2
"""The place of that function in ggml's table of a device."""


class WorkerBusy(MemoryShortage):
    """A worker holds another model, which may have to make way for one of ``required`` bytes."""

    def __init__(self, endpoint: str, required: int) -> None:
        super().__init__("worker", required, 0)
        self.args = (f"the worker at {endpoint} serves another model or does not answer",)


def add_workers(endpoints: Sequence[str], required: int) -> None:
    """Make the devices of workers ("host:port") known, for a model of ``required`` bytes.

    Raises LoadError if one is not there, WorkerBusy.
    """
    add = _function("ggml_backend_rpc_add_server", ctypes.c_void_p, ctypes.c_char_p)
    for endpoint in endpoints:
        _knock(endpoint, required)
    register = ggml("ggml_backend_register", None, ctypes.c_void_p)
    for endpoint in endpoints:
        register(add(endpoint.encode()))


def _function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Return a function of ggml's RPC, which is not in every build. Raises LoadError."""
    registered = ggml("ggml_backend_reg_by_name", ctypes.c_void_p, ctypes.c_char_p)(REGISTRY)
    if not registered:
        raise LoadError(NO_RPC)
    types = (ctypes.c_void_p, ctypes.c_char_p)
    find = ggml("ggml_backend_reg_get_proc_address", ctypes.c_void_p, *types)
    function: Callable[..., Any] = ctypes.CFUNCTYPE(result, *arguments)(
        find(registered, name.encode())
    )
    return function


def _knock(endpoint: str, required: int) -> None:
    """See whether a worker answers: llama.cpp would wait for ever, or abort."""
    host, _, port = endpoint.rpartition(":")
    try:
        connection = socket.create_connection((host, int(port)), ANSWER_SECONDS)
    except OSError as error:
        reason = error.strerror or error
        raise LoadError(f"the worker at {endpoint} cannot be reached: {reason}") from None
    with connection:
        try:
            connection.sendall(HELLO)
            answers = bool(connection.recv(1))
        except TimeoutError:
            raise WorkerBusy(endpoint, required) from None
        except OSError:
            answers = False
    if not answers:
        raise LoadError(f"what listens at {endpoint} does not speak the RPC of this llama.cpp")


def serve(host: str, port: int, *, memory: int, threads: int, cache: Path | None) -> None:
    """Lend the GPUs of this host, or else its CPU, to one runner at a time.

    Of each device ``memory`` bytes at most are offered, 0 for all that is free. Weights are kept in
    the folder ``cache``, so that they need not be sent again. Returns if it cannot listen. Raises
    LoadError.
    """
    size, pointers = ctypes.c_size_t, ctypes.POINTER(ctypes.c_void_p)
    types = (ctypes.c_char_p, ctypes.c_char_p, size, size, pointers)
    start = _function("ggml_backend_rpc_start_server", None, *types)
    found = devices()
    lent = [device for device in found if not device.is_cpu] or found
    kept = [_limit(device, memory or device.total) for device in lent]
    array = (ctypes.c_void_p * len(lent))(*(device.pointer for device in lent))
    folder = str(cache).encode() if cache else None
    start(f"{host}:{port}".encode(), folder, threads or physical_threads(), len(kept), array)


def _limit(device: Device, most: int) -> object:
    """Let a device tell of ``most`` bytes at most, and a CPU of what is really free.

    Returns what has to be kept as long as the device is used.
    """
    place = device.pointer + GET_MEMORY_SLOT * ctypes.sizeof(ctypes.c_void_p)
    slot = ctypes.c_void_p.from_address(place)
    ask, taken_before = GetMemory(slot.value or 0), own_memory()

    def tell(pointer: int, free: Any, total: Any) -> None:
        ask(pointer, free, total)
        left, taken = free[0], device.free - free[0]
        if device.is_cpu:
            available = available_memory()
            left = left if available is None else min(left, available)
            taken = own_memory() - taken_before
        free[0] = max(0, min(left, most - max(0, taken)))
        total[0] = min(total[0], most)

    callback = GetMemory(tell)
    slot.value = ctypes.cast(callback, ctypes.c_void_p).value
    return callback
