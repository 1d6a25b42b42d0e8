"""ggml's dynamic backends: shared libraries that add devices to an installed llama.cpp.

A backend exchanges structs with ggml whose layout changes between releases, so it must be built for
the ggml of the process, and be bound to the copy that is loaded. `jupyter ollama install-backend`
writes into a backend what it was built for; others are loaded only if a setting names the file.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import llama_cpp

from .llama_internals import ggml

VARIABLE = "GGML_BACKEND_PATH"
"""ggml's own variable for the file of a backend; here it may list files and folders."""

PATTERNS = ("libggml-*.so", "ggml-*.dll")
"""The files of a folder that are backends. They end in .so on macOS, too."""

MARKER = re.compile(rb"jupyter_ollama backend for (ggml \S+, llama-cpp-python \S+?)\0")
"""The constant in a backend that states what it was built for (``backends/CMakeLists.txt``)."""

BASE = "libggml-base"
"""The library with ggml's registry of devices; a process must have one copy."""

DRIVERS = {"libcuda.so.1": "NVIDIA's driver", "libvulkan.so.1": "the loader of Vulkan"}
"""Libraries that a backend is linked to and a host may lack: parts that users install."""


class DynamicBackend(NamedTuple):
    """A file of a backend: ggml's name of it and the number of its devices, or a ``fault``."""

    path: str
    name: str = ""
    devices: int = 0
    fault: str = ""


def load_backends(paths: Iterable[str]) -> list[DynamicBackend]:
    """Load the backends among files and folders, and in GGML_BACKEND_PATH.

    A path that does not exist and a backend that cannot be used have a fault; other devices stay.
    """
    variable = os.environ.get(VARIABLE, "").split(os.pathsep)
    found: dict[str, DynamicBackend] = {}
    for path in filter(None, [*paths, *variable]):
        for file, is_named in _files(Path(path).expanduser()):
            backend = _load_once(os.path.realpath(file), is_named=is_named)
            found.setdefault(backend.path, backend)
    return list(found.values())


def _files(path: Path) -> Iterator[tuple[Path, bool]]:
    """Yield files of backends, and whether the setting names the file itself."""
    if not path.is_dir():
        yield path, True
        return
    for pattern in PATTERNS:
        for file in sorted(path.glob(pattern)):
            if not file.name.startswith(BASE):
                yield file, False


@cache
def _load_once(path: str, *, is_named: bool) -> DynamicBackend:
    """Load a backend; a second load would list its devices twice."""
    try:
        backend = _load(path, is_named=is_named)
    except (OSError, _Refusal) as error:
        reason = str(getattr(error, "strerror", None) or error)
        return DynamicBackend(path, fault=reason)
    return backend


class _Refusal(Exception):
    """The reason why a backend is not used."""


def _load(path: str, *, is_named: bool) -> DynamicBackend:
    made_for, present = built_for(path), this_build()
    if made_for is None and not is_named:
        raise _Refusal(
            "it does not state the ggml that it was built for; name the file itself to use it"
        )
    if made_for not in (None, present):
        raise _Refusal(f"it was built for {made_for}, and {present} is installed")
    copies = _copies()
    # Loaded here first: the error of the dynamic linker, which ggml only logs, is the reason.
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        missing = DRIVERS.get(str(error).partition(":")[0])
        raise _Refusal(f"it needs {missing}: {error}" if missing else str(error)) from error
    if added := _copies() - copies:
        raise _Refusal(f"it needs another copy of ggml: {', '.join(sorted(added))}")
    registry = ggml("ggml_backend_load", ctypes.c_void_p, ctypes.c_char_p)(path.encode())
    if not registry:
        raise _Refusal(_reason(library))
    name = ggml("ggml_backend_reg_name", ctypes.c_char_p, ctypes.c_void_p)(registry).decode()
    count = ggml("ggml_backend_reg_dev_count", ctypes.c_size_t, ctypes.c_void_p)(registry)
    return DynamicBackend(path, name, count, "" if count else "its driver offers no device")


def built_for(path: str) -> str | None:
    """Return what a backend was built for, None if it does not state it. Raises OSError."""
    with (
        Path(path).open("rb") as file,
        suppress(ValueError),  # of an empty file
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        if found := MARKER.search(content):
            return found[1].decode()
    return None


def this_build() -> str:
    """Return what a backend must have been built for."""
    try:
        version = ggml("ggml_version", ctypes.c_char_p)().decode()
    except AttributeError:
        version = "unknown"
    return f"ggml {version}, llama-cpp-python {llama_cpp.__version__}"


def _copies() -> set[str]:
    """Return the files of ggml's base library in this process; none where there is no /proc."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return set()
    files = {line.split(maxsplit=5)[5] for line in lines if BASE in line}
    return {file for file in files if Path(file).name.startswith(BASE)}


def _reason(library: ctypes.CDLL) -> str:
    """Return why ggml has refused a library that the dynamic linker accepts."""
    if not hasattr(library, "ggml_backend_init"):
        return "it is no dynamic backend: it has no ggml_backend_init"
    with suppress(AttributeError):
        if not library.ggml_backend_score():
            return "it does not support this processor or driver"
    return "it has another version of ggml's interface"
