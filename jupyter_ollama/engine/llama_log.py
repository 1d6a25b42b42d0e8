"""What llama.cpp says: warnings, reasons of errors, and the sizes of its buffers."""

from __future__ import annotations

import ctypes
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import llama_cpp.llama_cpp as llama

GGML_LOG_WARN, GGML_LOG_ERROR, GGML_LOG_CONT = 3, 4, 5

_BUFFER = re.compile(
    r"(\S+)\s+(model|KV|RS|DSV4 \S+ state|LoRA|compute|output) buffer size\s*=\s*([\d.]+) MiB"
)
_GIVEN_UP = re.compile(
    r"compute status: 1$|compute_async failed with error 1$|failed to decode, ret = 2$"
    r"|removing memory module entries"
)
"""What is said of a batch that was ended on purpose."""

_CACHE = re.compile(r": size =\s*([\d.]+) MiB \(\s*\d+ cells")


class Buffer(NamedTuple):
    """A buffer of llama.cpp: what for, whether the host holds it, and its bytes.

    A cache is told twice, as "KV" and "RS" by device, and as "cache" with all its devices, which
    is the only true number while nothing is allocated.
    """

    use: str
    on_host: bool
    size: float


class LlamaLog:
    """Listens to llama.cpp: repeats warnings on stderr, keeps account of its buffers."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=3)
        self._held: dict[str, list[Buffer]] = {}
        self._reported: list[Buffer] = []
        self._is_quiet = False
        self._level = 0
        self._callback = llama.llama_log_callback(self._listen)
        self.hear(llama.llama_log_set)

    def hear(self, set_callback: Callable[..., None]) -> None:
        """Listen to a library too, whose function for that is ``set_callback``."""
        set_callback(self._callback, ctypes.c_void_p(0))

    @property
    def host_bytes(self) -> float:
        """What the host holds for the model and its contexts."""
        return self._sum(on_host=True)

    @property
    def device_bytes(self) -> float:
        """What other devices hold for the model and its contexts."""
        return self._sum(on_host=False)

    def _sum(self, *, on_host: bool) -> float:
        buffers = (buffer for held in self._held.values() for buffer in held)
        return sum(b.size for b in buffers if b.on_host == on_host and b.use != "cache")

    @contextmanager
    def account(self, owner: str) -> Iterator[list[Buffer]]:
        """Book what is reported meanwhile in place of the former buffers, if all goes well."""
        with self._collecting() as buffers:
            yield buffers
            self._held[owner] = buffers

    @contextmanager
    def trial(self) -> Iterator[list[Buffer]]:
        """Collect the buffers of what is soon freed; its warnings are not repeated."""
        self._is_quiet = True
        try:
            with self._collecting() as buffers:
                yield buffers
        finally:
            self._is_quiet = False

    @contextmanager
    def _collecting(self) -> Iterator[list[Buffer]]:
        self._reported = buffers = list[Buffer]()
        try:
            yield buffers
        finally:
            self._reported = []

    def _listen(self, level: int, text: bytes, _: ctypes.c_void_p) -> None:
        self._level = self._level if level == GGML_LOG_CONT else level
        line = text.decode("utf-8", "replace")
        if _GIVEN_UP.search(line.strip()):
            return
        if found := _BUFFER.search(line):
            on_host = found[1].startswith(("CPU", "AMX")) or found[1].endswith("_Host")
            self._reported.append(Buffer(found[2], on_host, float(found[3]) * 2**20))
        elif found := _CACHE.search(line):
            self._reported.append(Buffer("cache", True, float(found[1]) * 2**20))
        if self._level in (GGML_LOG_WARN, GGML_LOG_ERROR) and not self._is_quiet:
            sys.stderr.write(line)
        if self._level == GGML_LOG_ERROR and line.strip():
            self.errors.append(line.strip())
