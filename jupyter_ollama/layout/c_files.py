"""Passing a virtual file to C code: as a stream, or as a path."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .virtual_file import VirtualFile

_BUFFER_BYTES = 2**20
"""The buffer of a stream: llama.cpp reads no faster with more, a third slower with 64 KiB."""

_READ = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_SEEK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_int
)


class _CookieFunctions(ctypes.Structure):
    """``cookie_io_functions_t`` of the C library; write and close are unused."""

    _fields_ = [
        ("read", _READ),
        ("write", ctypes.c_void_p),
        ("seek", _SEEK),
        ("close", ctypes.c_void_p),
    ]


def _c_library() -> ctypes.CDLL | None:
    """Return the C library if it has ``fopencookie``, as glibc and musl do."""
    try:
        library = ctypes.CDLL(None)
        library.fopencookie.restype = ctypes.c_void_p
        library.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _CookieFunctions]
        library.setvbuf.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
        ]  # fmt: skip
        library.fclose.argtypes = [ctypes.c_void_p]
    except (AttributeError, OSError, TypeError):
        return None
    return library


_LIBRARY = _c_library()

has_streams = _LIBRARY is not None
"""Whether ``stream`` is supported; otherwise ``as_path`` writes a temporary file."""


class Reading:
    """The position of a C stream in a virtual file, and the error that stopped it."""

    def __init__(self, file: VirtualFile) -> None:
        self._file = file
        self._at = 0
        self.error: Exception | None = None

    def read(self, _cookie: int | None, buffer: int, size: int) -> int:
        """Fill a buffer; an error is stored, because C has no exceptions."""
        try:
            target = memoryview((ctypes.c_char * size).from_address(buffer)).cast("B")
            count = self._file.read_into(self._at, target)
        except Exception as error:
            self.error = self.error or error
            return -1
        self._at += count
        return count

    def seek(
        self, _cookie: int | None, offset: ctypes._Pointer[ctypes.c_int64], whence: int
    ) -> int:
        """Move to a position from the start (0), the present one (1) or the end (2)."""
        base = (0, self._at, self._file.size)[whence] if 0 <= whence <= 2 else -1
        position = base + offset[0]
        if base < 0 or not 0 <= position <= self._file.size:
            return -1
        self._at = offset[0] = position
        return 0


@contextmanager
def stream(file: VirtualFile) -> Iterator[int]:
    """Yield the address of a ``FILE`` that reads a virtual file.

    An error of the file is raised when the block ends. The stream has no file descriptor
    and cannot be memory-mapped.
    """
    assert _LIBRARY
    reading = Reading(file)
    functions = _CookieFunctions(_READ(reading.read), None, _SEEK(reading.seek), None)
    pointer = _LIBRARY.fopencookie(None, b"rb", functions)
    if not pointer:
        raise OSError("the C library cannot make a stream")
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    _LIBRARY.setvbuf(pointer, buffer, 0, len(buffer))
    try:
        yield pointer
    finally:
        _LIBRARY.fclose(pointer)
        if reading.error:
            raise reading.error


@contextmanager
def as_path(file: VirtualFile) -> Iterator[Path]:
    """Yield a path under which a copy of a virtual file can be opened inside the block.

    The copy is in memory on Linux, elsewhere in a temporary file.
    """
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("jupyter-ollama", os.MFD_CLOEXEC)
        with os.fdopen(fd, "wb") as target:
            file.write_to(target)
            target.flush()
            yield Path(f"/proc/self/fd/{fd}")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        with path.open("wb") as target:
            file.write_to(target)
        yield path
