"""Ends a step of the batch loop before it is done, for somebody who waits for a first token.

While a CPU computes, llama.cpp asks after each of some hundred operations whether to go on. Python
would have to wait for the interpreter to answer, so strlen does: our flag is a string, and as long
as it is empty, the step goes on.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import llama_cpp.llama_cpp as llama

from .llama_context import LlamaContext

_is_not_empty = ctypes.cast(ctypes.CDLL(None).strlen, llama.ggml_abort_callback)


class Preemption:
    """Between the batch loop, which says when a step may be given up, and who hands over work."""

    def __init__(self) -> None:
        self._flag = ctypes.create_string_buffer(2)
        self._lock = threading.Lock()
        self._until = 0.0

    def attach(self, context: LlamaContext) -> None:
        """Let batches of a context be given up; ``decode`` returns GIVEN_UP then."""
        llama.llama_set_abort_callback(context.pointer, _is_not_empty, self._flag)

    @contextmanager
    def step(self, seconds: float) -> Iterator[None]:
        """Run a step which may be given up during its first ``seconds``."""
        self._set(time.perf_counter() + seconds)
        yield
        self._set(0.0)

    def _set(self, until: float) -> None:
        with self._lock:
            self._until = until
            self._flag.value = b""

    def hand_over(self, put: Callable[[], None]) -> None:
        """Queue a request by ``put`` and give up the step under way if it may be.

        Both happen at once: no step is given up for a request that is in it.
        """
        with self._lock:
            put()
            if time.perf_counter() < self._until:
                self._flag.value = b"!"
