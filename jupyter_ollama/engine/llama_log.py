"""The log of llama.cpp: warnings, the reasons of errors, and the sizes of its buffers."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import llama_cpp.llama_cpp as llama

from .llama_internals import Buffer, reported_buffer, reports_interruption

GGML_LOG_WARN, GGML_LOG_ERROR, GGML_LOG_CONT = 3, 4, 5

_callbacks: list[object] = []
"""The libraries call the last callback they got, even if Python has collected it: keep them all."""


class LlamaLog:
    """Receives llama.cpp's log: repeats warnings on stderr, and accounts for the buffers."""

    def __init__(self) -> None:
        self.errors: deque[str] = deque(maxlen=3)
        self._held: dict[str, list[Buffer]] = {}
        self._reported: list[Buffer] | None = None
        self._is_quiet = False
        self._level = 0
        self._callback = llama.llama_log_callback(self._listen)
        _callbacks.append(self._callback)
        self.hear(llama.llama_log_set)

    def hear(self, set_callback: Callable[..., None]) -> None:
        """Receive the log of another library, whose function for that is ``set_callback``."""
        set_callback(self._callback, ctypes.c_void_p(0))

    @property
    def host_bytes(self) -> float:
        """Bytes of host memory for the model and its contexts."""
        return self._sum(on_host=True)

    @property
    def device_bytes(self) -> float:
        """Bytes on other devices for the model and its contexts."""
        return self._sum(on_host=False)

    def _sum(self, *, on_host: bool) -> float:
        buffers = (buffer for held in self._held.values() for buffer in held)
        return sum(b.size for b in buffers if b.on_host == on_host and b.use != "cache")

    @contextmanager
    def account(self, owner: str, *, is_quiet: bool = False) -> Iterator[list[Buffer]]:
        """Replace the buffers of an owner by those reported in the block, if it succeeds.

        With ``is_quiet`` warnings are not repeated.
        """
        self._is_quiet = is_quiet
        try:
            with self._collecting() as buffers:
                yield buffers
                self._held[owner] = buffers
        finally:
            self._is_quiet = False

    def held(self, owner: str) -> list[Buffer]:
        """Return the buffers of an owner."""
        return self._held.get(owner, [])

    def forget(self, owner: str) -> None:
        """Drop the buffers of an owner, which were freed."""
        self._held.pop(owner, None)

    @contextmanager
    def trial(self) -> Iterator[list[Buffer]]:
        """Collect the buffers of a trial allocation; its warnings are not repeated."""
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
            self._reported = None

    def _listen(self, level: int, text: bytes, _: ctypes.c_void_p) -> None:
        self._level = self._level if level == GGML_LOG_CONT else level
        line = text.decode("utf-8", "replace")
        if reports_interruption(line):
            return
        # Without a list: llama.cpp plans buffers again when adapters change.
        if self._reported is not None and (buffer := reported_buffer(line)):
            self._reported.append(buffer)
        if self._level in (GGML_LOG_WARN, GGML_LOG_ERROR) and not self._is_quiet:
            sys.stderr.write(line)
        if self._level == GGML_LOG_ERROR and line.strip():
            self.errors.append(line.strip())
