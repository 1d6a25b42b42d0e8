"""The GPU of the benchmarks: a backend of ggml that all contenders on a host load.

GGML_BACKEND_PATH names its file. llama-server and jupyter_ollama's runners read the variable by
themselves, the bare loops by `load_backend`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jupyter_ollama.backends.folders import default_folders
from jupyter_ollama.engine.device_list import UnusableBuild, build_report

VARIABLE = "GGML_BACKEND_PATH"


def load_backend() -> None:
    """Load the backend of GGML_BACKEND_PATH into this process. Raises OSError."""
    from jupyter_ollama.engine.dynamic_backends import load_backends

    for backend in load_backends(()):
        if backend.fault:
            raise OSError(f"{backend.path}: {backend.fault}")


def gpus() -> list[dict[str, Any]]:
    """Return the GPUs that another process finds: name, description, free and total bytes.

    They are listed once for each value of GGML_BACKEND_PATH. Raises OSError.
    """
    return [one for one in _report(os.environ.get(VARIABLE))["devices"] if not one["is_cpu"]]


@cache
def _report(variable: str | None, folders: Sequence[str] = ()) -> dict[str, Any]:
    """Return the report of another process: a driver in this one would hold memory of the GPU."""
    del variable  # it is in the environment of the process
    try:
        return asyncio.run(build_report(folders))
    except UnusableBuild as error:
        raise OSError(f"llama.cpp cannot be loaded: {error}") from None


def choose_backend(kind: str, folder: Path, *, build: bool) -> str:
    """Set GGML_BACKEND_PATH to the backend to measure, and return its description.

    It is the one that the variable names, else an installed one, else llama.cpp's own GPU support.
    Else ``build`` has `install-backend` make one of ``kind`` in ``folder``, from the user's cache
    if it was built before. Raises OSError.
    """
    if os.environ.get(VARIABLE):
        return _chosen(())
    if found := _chosen(default_folders()):
        return found
    if gpus():
        return "compiled into llama.cpp"
    if not build:
        return "none"
    program = Path(sys.executable).with_name("jupyter-ollama")
    command = [program, "install-backend", kind, "--folder", folder]
    if subprocess.run(command, check=False).returncode:
        raise OSError(f"the {kind} backend could not be built")
    return _chosen([str(folder)])


def _chosen(folders: Sequence[str]) -> str:
    """Set the variable to the backend in folders, or check its own; return the backend's name."""
    backends = _report(os.environ.get(VARIABLE), tuple(folders))["dynamic"]
    if not backends:
        return ""
    if faults := [f"{one['path']}: {one['fault']}" for one in backends if one["fault"]]:
        raise OSError("\n".join(faults))
    if len(backends) > 1:
        names = ", ".join(one["path"] for one in backends)
        raise OSError(f"a server would use all of these backends, leave one: {names}")
    os.environ[VARIABLE] = backends[0]["path"]
    return str(backends[0]["name"])
