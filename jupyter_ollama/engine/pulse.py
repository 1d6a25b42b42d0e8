"""Signs of life of a runner's main thread.

After a silence the parent writes a byte to standard input. The thread that reads it queues a
request for the main thread, which answers between two steps: no helper thread answers for a main
thread that hangs. A step that may take long is announced before it begins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from .events import Beat, Event

QUESTION = b"?"
"""The byte that the parent writes."""

MARGIN = 4
"""Multiple of its expected duration that a step may take, since other programs use the host."""

WORTH_ANNOUNCING = 1.0
"""Seconds above which a step is announced."""


COMPILING = 45.0
"""Seconds that a GPU's driver may take to compile its kernels, in the first steps of a size. Mesa's
software driver took 50 s of a core for a tiny model; drivers keep the result on the disk."""

FIRST_STEPS = 4
"""Steps of about the same size in which a driver may still compile."""

Expect = Callable[[float, int], bool]
"""Announces the seconds of a step and its number of tokens; True if its time may not be typical."""


class Pulse:
    """Reports that the main thread works."""

    def __init__(self, send: Callable[[Event], None], *, compiles: bool = False) -> None:
        """``compiles`` is True on a GPU, whose driver compiles kernels when they are needed."""
        self._send = send
        self._compiles = compiles
        self._steps: Counter[int] = Counter()
        self._expected = 0.0

    def answer(self) -> None:
        """Answer the parent; the main thread calls this."""
        self._send(Beat(self._expected))

    def expect(self, seconds: float, tokens: int = 0) -> bool:
        """Announce a step of ``tokens`` that should take so many seconds.

        Returns True if a driver may compile kernels in it: its time says nothing about the next.
        """
        # Kernels differ by the size of a batch.
        size = tokens.bit_length()
        compiles = self._compiles and self._steps[size] < FIRST_STEPS
        if compiles:
            self._steps[size] += 1
            seconds += COMPILING
        self._expected = MARGIN * seconds if MARGIN * seconds > WORTH_ANNOUNCING else 0.0
        if self._expected:
            self._send(Beat(self._expected))
        return compiles
