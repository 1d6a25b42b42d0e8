"""The share of the processor that other work takes during a measurement."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil
from upkeep import processor_seconds

BUSY = ("user", "nice", "system", "irq", "softirq", "steal")
CORES = psutil.cpu_count() or 1
SHORTEST = 0.4
"""Seconds below which processor time is too coarse to measure."""


class Noise:
    """Measures other work: other processes, and other virtual machines.

    ``share`` is their part while the ``with`` block ran, in percent of all cores.
    """

    def __init__(self, ours: Callable[[], Sequence[psutil.Process]]) -> None:
        """``ours`` returns the processes of the contenders."""
        self._ours = ours
        self.share = 0.0

    def __enter__(self) -> Noise:
        self._start = time.perf_counter()
        self._busy_before, self._ours_before = busy_seconds(), self._seconds_of_ours()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._start
        after = self._seconds_of_ours()
        busy = busy_seconds() - self._busy_before
        # The time of a process that has ended meanwhile is unknown; it counts as other work.
        ours = sum(used - self._ours_before.get(who, 0.0) for who, used in after.items())
        if seconds >= SHORTEST:
            self.share = max(0.0, busy - ours) / seconds / CORES * 100

    def _seconds_of_ours(self) -> dict[int, float]:
        seconds: dict[int, float] = {}
        for one in [*self._ours(), psutil.Process(os.getpid())]:
            with suppress(psutil.NoSuchProcess):  # a short one, which lists the devices
                seconds[one.pid] = processor_seconds([one])
        return seconds


def busy_seconds() -> float:
    """Return the seconds in which the cores were not idle, all cores together."""
    times = psutil.cpu_times()
    return sum(getattr(times, kind, 0.0) for kind in BUSY)
