"""The progress of a loading runner: its input, memory and processor time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import OllamaError
from .runner_limits import RunnerLimits

PROC = Path("/proc")

_READ = ("rchar", "read_bytes")

LOOK_SECONDS = 1.0
"""Seconds between two checks of a load."""


when_stalled: ContextVar[Callable[[], None]] = ContextVar("when_stalled", default=lambda: None)
"""The function that a load without progress calls; set by the loader, which loads one at a time."""


class Signs(NamedTuple):
    """Bytes that a process has read and allocated, and ticks of its processor time."""

    bytes: tuple[int, ...]
    ticks: tuple[int, ...]


def signs_of(pid: int) -> Signs | None:
    """Return the signs of a process, None where the system does not have them."""
    folder = PROC / str(pid)
    try:
        counts = (folder / "io").read_text().splitlines()
        resident = (folder / "statm").read_text().split()[1]
        ticks = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
    except (OSError, IndexError):
        return None
    read = [int(line.rpartition(":")[2]) for line in counts if line.startswith(_READ)]
    return Signs((*read, int(resident)), tuple(map(int, ticks)))


def size_of(paths: Iterable[str | None]) -> int:
    """Return the total bytes of the files that exist."""
    total = 0
    for path in filter(None, paths):
        try:
            total += Path(path).stat().st_size
        except OSError:
            continue
    return total


class Patience:
    """Waits for a load as long as it reads, allocates or computes.

    `when_stalled` is called once when it has neither read nor allocated for ``load_turn`` seconds.
    """

    def __init__(self, pid: int, size: int, limits: RunnerLimits) -> None:
        self._pid = pid
        self._limits = limits
        self._longest_silence = limits.load_silence + size / limits.load_rate
        self._when_stalled = when_stalled.get()
        self._last: Signs | None = None
        self._without_bytes = 0.0
        self._silent = 0.0
        self._has_stalled = False

    async def wait(self, loaded: asyncio.Future[Any], timeout: float | None) -> None:
        """Wait until a future is done. Raises OllamaError(500) after a timeout or a silence.

        Time is counted in checks, so that a server that was suspended itself does not time out.
        """
        look = min(LOOK_SECONDS, self._limits.load_turn, self._limits.load_silence)
        waited = 0.0
        while not loaded.done():
            await asyncio.wait([loaded], timeout=min(look, (timeout or look) - waited or look))
            if loaded.done():
                return
            waited += look
            if timeout and waited >= timeout:
                message = f"timed out waiting for the model to load ({timeout:.0f} s)"
                raise OllamaError(500, message)
            self._look(look)

    def _look(self, seconds: float) -> None:
        signs = signs_of(self._pid)
        if signs is None:
            return
        reads = self._last is None or signs.bytes != self._last.bytes
        computes = reads or (self._last is not None and signs.ticks != self._last.ticks)
        self._last = signs
        self._without_bytes = 0.0 if reads else self._without_bytes + seconds
        self._silent = 0.0 if computes else self._silent + seconds
        if self._without_bytes >= self._limits.load_turn and not self._has_stalled:
            self._has_stalled = True
            self._when_stalled()
        if self._silent >= self._longest_silence:
            message = f"the model has stopped loading ({self._silent:.0f} s without a sign of it)"
            raise OllamaError(500, message)
