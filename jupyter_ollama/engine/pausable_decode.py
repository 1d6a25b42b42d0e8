"""Decodes a batch in a thread of its own, which pauses while the batch loop makes a step.

Only one of the two threads computes at a time. While a CPU computes, llama.cpp calls a function
after each of some hundred operations to decide whether to abort; here that function waits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import llama_cpp.llama_cpp as llama

from .batch import Batch
from .llama_context import INTERRUPTED, LlamaContext


class PausableDecode:
    """Runs the batches of a context, one after the other, in slices of time."""

    def __init__(self, context: LlamaContext, is_wanted: Callable[[], bool]) -> None:
        """``is_wanted`` returns True if the calling thread has other work, which ends a slice."""
        self._context = context
        self._is_wanted = is_wanted
        self._batch: Batch | None = None
        self._until = 0.0
        self._is_aborted = False
        self._last = 0.0
        self._may_run = threading.Semaphore(0)
        self._has_paused = threading.Semaphore(0)
        self.code: int | None = None
        """What llama_decode returned; None while a batch is not finished."""
        self.longest_operation = 0.0
        """The seconds of the longest operation of the last batch, which no slice can divide."""
        self._callback = llama.ggml_abort_callback(self._pause_when_due)
        llama.llama_set_abort_callback(context.pointer, self._callback, None)
        self._thread = threading.Thread(target=self._work, name="prefill", daemon=True)
        self._thread.start()

    def start(self, batch: Batch) -> None:
        """Take a batch, which must not change until ``code`` is set."""
        self._batch, self.code, self._is_aborted = batch, None, False
        self.longest_operation = 0.0

    def run(self, seconds: float) -> float:
        """Compute for some seconds, or less; return how many it were.

        A slice ends after the operation in which its time is over.
        """
        start = time.perf_counter()
        if self.code is None:
            self._until = start + seconds
            self._may_run.release()
            self._has_paused.acquire()
        return time.perf_counter() - start

    def abort(self) -> None:
        """Give up the batch that is not finished, if there is one."""
        if self._batch and self.code is None:
            self._is_aborted = True
            self.run(0.0)

    def close(self) -> None:
        """End the thread; the context is not used any more."""
        self.abort()
        self._batch = None
        self._may_run.release()
        self._thread.join()

    def _work(self) -> None:
        while True:
            self._may_run.acquire()
            if self._batch is None:
                return
            self._last = time.perf_counter()
            is_aborted = self._is_aborted
            self.code = INTERRUPTED if is_aborted else self._context.decode(self._batch)
            self._has_paused.release()

    def _pause_when_due(self, _: object) -> bool:
        """Wait for the next slice if this one is over; return whether the batch is given up."""
        now = time.perf_counter()
        self.longest_operation = max(self.longest_operation, now - self._last)
        if now >= self._until or self._is_wanted():
            self._has_paused.release()
            self._may_run.acquire()
            now = time.perf_counter()
        self._last = now
        return self._is_aborted
