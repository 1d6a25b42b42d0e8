"""Interrupts a step of the batch loop for the first token of a new stream.

While a CPU computes, llama.cpp calls a function after each of some hundred operations to decide
whether to abort. A Python function would have to wait for the interpreter, so it is libc's strlen:
the flag is a string, and the step continues while it is empty.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import llama_cpp.llama_cpp as llama

from .llama_context import LlamaContext

_is_not_empty = ctypes.cast(ctypes.CDLL(None).strlen, llama.ggml_abort_callback)

PREEMPTIBLE = 0.5
"""The part of a step after which finishing it takes less time than was spent on it."""


class Preemption:
    """Connects the batch loop, whose steps may be interrupted, to the thread with new work."""

    def __init__(self) -> None:
        self._flag = ctypes.create_string_buffer(2)
        self._lock = threading.Lock()
        self._until = 0.0
        self._but_by: Collection[int] = ()
        self.account = 0
        """The account of the stream that has interrupted a step last."""

    def attach(self, context: LlamaContext) -> None:
        """Let batches of a context be interrupted; ``decode`` returns INTERRUPTED then."""
        llama.llama_set_abort_callback(context.pointer, _is_not_empty, self._flag)

    @contextmanager
    def step(self, seconds: float, but_by: Collection[int] = ()) -> Iterator[None]:
        """Run a step that may be interrupted during its first ``seconds``.

        Streams of the accounts ``but_by`` do not interrupt it.
        """
        self._set(time.perf_counter() + seconds, but_by)
        yield
        self._set(0.0)

    def _set(self, until: float, but_by: Collection[int] = ()) -> None:
        with self._lock:
            self._until = until
            self._but_by = but_by
            self._flag.value = b""

    def hand_over(self, put: Callable[[], None], account: int = 0) -> None:
        """Queue a request of ``account`` by ``put``; interrupt the current step if that is allowed.

        Both happen under one lock: no step is interrupted for a request that is in it.
        """
        with self._lock:
            put()
            if time.perf_counter() < self._until and account not in self._but_by:
                self.account = account
                self._until = 0.0
                self._flag.value = b"!"
