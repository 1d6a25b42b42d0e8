"""llama.cpp's RPC: a model on the devices of several hosts, and a worker that lends its own.

A worker holds its devices for one runner at a time, from the load of a model to its end. llama.cpp
aborts a runner whose worker is lost.
"""

from __future__ import annotations

import ctypes
import logging
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .devices import Device, available_memory, devices, own_memory, physical_threads
from .llama_internals import (
    RPC_HELLO,
    TESTED_VERSION,
    ggml,
    is_tested,
    replace_memory_report,
    rpc_function,
)
from .llama_model import LoadError
from .memory_plan import MemoryShortage

NO_RPC = (
    "this llama-cpp-python was built without RPC; install it again with "
    "CMAKE_ARGS=-DGGML_RPC=on pip install --force-reinstall --no-cache-dir "
    "--no-binary llama-cpp-python llama-cpp-python"
)

ANSWER_SECONDS = 3.0
"""Seconds an idle worker may take to answer the first message."""

log = logging.getLogger(__name__)


class WorkerBusy(MemoryShortage):
    """A worker holds another model, whose eviction may free ``required`` bytes."""

    def __init__(self, endpoint: str, required: int) -> None:
        super().__init__("worker", required, 0)
        self.args = (f"the worker at {endpoint} serves another model or does not answer",)


def add_workers(endpoints: Sequence[str], required: int) -> None:
    """Register the devices of workers ("host:port") for a model of ``required`` bytes.

    Raises LoadError for a worker that cannot be reached, and WorkerBusy.
    """
    add = _function("ggml_backend_rpc_add_server", ctypes.c_void_p, ctypes.c_char_p)
    for endpoint in endpoints:
        _knock(endpoint, required)
    register = ggml("ggml_backend_register", None, ctypes.c_void_p)
    for endpoint in endpoints:
        register(add(endpoint.encode()))


def _function(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Return a function of ggml's RPC, which is not in every build. Raises LoadError."""
    function = rpc_function(name, result, *arguments)
    if function is None:
        raise LoadError(NO_RPC)
    return function


def _knock(endpoint: str, required: int) -> None:
    """Check that a worker answers: llama.cpp would wait for ever, or abort."""
    host, _, port = endpoint.rpartition(":")
    try:
        connection = socket.create_connection((host, int(port)), ANSWER_SECONDS)
    except OSError as error:
        reason = error.strerror or error
        raise LoadError(f"the worker at {endpoint} cannot be reached: {reason}") from None
    with connection:
        if not is_tested():  # the first message may have changed
            return
        try:
            connection.sendall(RPC_HELLO)
            answers = bool(connection.recv(1))
        except TimeoutError:
            raise WorkerBusy(endpoint, required) from None
        except OSError:
            answers = False
    if not answers:
        raise LoadError(f"what listens at {endpoint} does not speak the RPC of this llama.cpp")


def serve(host: str, port: int, *, memory: int, threads: int, cache: Path | None) -> None:
    """Lend the GPUs of this host, or else its CPU, to one runner at a time.

    At most ``memory`` bytes of each device are offered, all free ones with 0. Weights are cached in
    the folder ``cache``, so that they are sent once. Returns if it cannot listen. Raises LoadError.
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
    """Make a device report at most ``most`` bytes, and a CPU the memory that is really free.

    Returns an object that must live as long as the device is used.
    """
    taken_before = own_memory()

    def report(_: int, left: int, total: int) -> tuple[int, int]:
        taken = device.free - left
        if device.is_cpu:
            available = available_memory()
            left = left if available is None else min(left, available)
            taken = own_memory() - taken_before
        return max(0, min(left, most - max(0, taken))), min(total, most)

    kept = replace_memory_report(device.pointer, report)
    if kept is None:
        log.warning(
            "The memory of %s cannot be limited: this needs llama-cpp-python %s",
            device.name,
            TESTED_VERSION,
        )
    return kept
