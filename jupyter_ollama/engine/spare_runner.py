"""A runner process that has started and waits for a model, so that the next load is shorter.

Starting Python and importing llama.cpp takes a third of the time until the first token of a small
model that was not loaded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from ..child_environment import child_environment
from .protocol import LoadSpec
from .runner_client import RunnerClient
from .runner_limits import RunnerLimits

log = logging.getLogger(__name__)

QUIET_SECONDS = 1.0
"""The time between two looks whether the server is busy: starting takes a core from its models."""


class SpareRunner:
    """Keeps one process for a time after the last load, and replaces it once a load has used it."""

    def __init__(self, seconds: float, is_busy: Callable[[], bool]) -> None:
        """Keep it for ``seconds``, 0 for never. It starts while the server is not ``is_busy``."""
        self._seconds = seconds
        self._is_busy = is_busy
        self._runner: RunnerClient | None = None
        self._environment: dict[str, str] = {}
        self._until = 0.0
        self._keeping: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def pid(self) -> int | None:
        """The id of the process, None without one."""
        return self._runner.pid if self._runner and self._runner.is_alive else None

    def take(self, limits: RunnerLimits) -> RunnerClient | None:
        """Return the process if it has the environment of ``limits``, else end it."""
        runner, self._runner = self._runner, None
        if runner is None or not runner.is_alive:
            return None
        if self._environment == child_environment(limits.environment):
            return runner
        self._end(runner)
        return None

    def keep(self, limits: RunnerLimits) -> None:
        """Have a process for the loads of the next seconds."""
        if self._seconds <= 0:
            return
        self._until = time.monotonic() + self._seconds
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep(limits))

    async def close(self) -> None:
        """End the process and start no other."""
        self._seconds = 0.0
        if self._keeping:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        if runner := self.take(RunnerLimits()):
            self._end(runner)
        if self._ending:
            await asyncio.wait(self._ending)

    async def _keep(self, limits: RunnerLimits) -> None:
        """Start a process whenever there is none, until the time is over."""
        while time.monotonic() < self._until:
            await asyncio.sleep(QUIET_SECONDS)
            if self.pid is None and not self._is_busy():
                await self._start(limits)
        if runner := self.take(limits):
            self._end(runner)

    async def _start(self, limits: RunnerLimits) -> None:
        environment = child_environment(limits.environment)
        runner = RunnerClient(LoadSpec(model="", limits=limits))
        try:
            await runner.begin()
        except OSError as error:
            log.warning("No spare runner could be started: %s", error)
            await runner.stop()
            self._until = 0.0
            return
        except asyncio.CancelledError:
            await runner.stop()
            raise
        self._runner, self._environment = runner, environment

    def _end(self, runner: RunnerClient) -> None:
        ending = asyncio.create_task(runner.stop())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
