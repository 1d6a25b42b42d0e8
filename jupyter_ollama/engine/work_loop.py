"""The loop of a runner's main thread: work of the intake, steps of answers, steps of embeddings."""

from __future__ import annotations

import queue
from collections.abc import Callable
from functools import partial

from ..heap import return_memory
from .embedder import Embedder
from .generator import Generator
from .preemption import Preemption

QUIET_SECONDS = 0.1
"""Idle time before the runner stores finished sequences, which no request waits for."""

RETURN_SECONDS = 20.0
"""Idle time before the runner returns memory to the system, which takes milliseconds."""


class WorkLoop:
    """Runs queued work, and steps of the generator and of the embedder, in one thread.

    A model has one of the two, or both.
    """

    def __init__(self, preemption: Preemption, on_rest: Callable[[], None]) -> None:
        """``on_rest`` is called once there is nothing more to do."""
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._patience: float | None = None
        self._preemption = preemption
        self._on_rest = on_rest
        self.generator: Generator | None = None
        self.embedder: Embedder | None = None

    def put(self, work: Callable[[], None]) -> None:
        """Queue work, from any thread."""
        self._inbox.put(work)

    def has_work(self) -> bool:
        """Return whether work is queued."""
        return not self._inbox.empty()

    def hand_over(self, work: Callable[[], None], waits: int | None) -> None:
        """Queue work of the intake; the stream of an account may end the step under way.

        ``waits`` is that account, None if no stream waits for the work.
        """
        if waits is None:
            self.put(work)
        else:
            self._preemption.hand_over(partial(self.put, work), waits)

    def run_once(self) -> None:
        """Do the queued work and one step of each kind; block without it until there is work."""
        if not self._is_busy:
            self._wait()
        self._take_work()
        if self.generator and self.generator.busy:
            self.generator.step()
        if self.embedder and self.embedder.busy:
            # A request that has just arrived starts before the next texts are embedded.
            self._take_work()
            if self.generator and self.generator.can_start_stream:
                self.generator.step()
            self.embedder.step()

    @property
    def _is_busy(self) -> bool:
        return any(part is not None and part.busy for part in (self.generator, self.embedder))

    def _take_work(self) -> None:
        while not self._inbox.empty():
            self._inbox.get()()

    def _wait(self) -> None:
        """Sleep until there is work, and do it; meanwhile store sequences and return memory."""
        while True:
            try:
                work = self._inbox.get(timeout=self._patience)
            except queue.Empty:
                self._rest()
            else:
                self._patience = QUIET_SECONDS
                work()
                return

    def _rest(self) -> None:
        """Do a part of the work for idle time, and plan the next part."""
        if self._patience == RETURN_SECONDS:
            if self.generator:
                self.generator.free()
            return_memory()
            self._patience = None
        elif not (self.generator and self.generator.rest()):
            self._on_rest()
            self._patience = RETURN_SECONDS
