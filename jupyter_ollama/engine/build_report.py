"""The version, backends and devices of the installed llama.cpp, as JSON on standard output.

Run it as ``python -m jupyter_ollama.engine.build_report [BACKENDS...]`` with files and folders of
dynamic backends, so that a build that aborts takes no other process with it.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterable
from typing import Any

import llama_cpp

from .devices import devices
from .dynamic_backends import load_backends
from .llama_internals import TESTED_VERSION, ggml, self_test


def build_report(paths: Iterable[str] = ()) -> dict[str, Any]:
    """Return the version, its differences from the tested one, backends, and devices in bytes.

    ``paths`` are files and folders of dynamic backends; "dynamic" states the fault of each.
    """
    llama_cpp.llama_backend_init()
    dynamic = load_backends(paths)
    describe = ggml("ggml_backend_dev_description", ctypes.c_char_p, ctypes.c_void_p)
    return {
        "version": llama_cpp.__version__,
        "tested": TESTED_VERSION,
        "faults": self_test(),
        "backends": backends(),
        "dynamic": [backend._asdict() for backend in dynamic],
        "devices": [
            {
                "name": one.name,
                "description": describe(one.pointer).decode(),
                "free": one.free,
                "total": one.total,
                "is_cpu": one.is_cpu,
            }
            for one in devices()
        ],
    }


def backends() -> list[str]:
    """Return the names of ggml's backends, such as CPU, CUDA and RPC."""
    count = ggml("ggml_backend_reg_count", ctypes.c_size_t)
    get = ggml("ggml_backend_reg_get", ctypes.c_void_p, ctypes.c_size_t)
    name_of = ggml("ggml_backend_reg_name", ctypes.c_char_p, ctypes.c_void_p)
    return [name_of(get(index)).decode() for index in range(count())]


if __name__ == "__main__":
    print(json.dumps(build_report(sys.argv[1:])))  # noqa: T201
