"""Hosts that are short of memory: one with real runners, one with simulated ones."""

from __future__ import annotations

import asyncio
import random

from jupyter_ollama.engine.events import LoadFailed, Ready
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.runner_failures import CRASHED, LoadRefused
from jupyter_ollama.errors import OllamaError

SHORT = "model requires more system memory (2.0 GiB) than is available (1.0 GiB)"


def refusal(shortage: int) -> LoadRefused:
    return LoadRefused(LoadFailed(SHORT, required=2**30 + shortage, available=2**30))


class Host:
    """A host whose memory holds a number of runners, which are real."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.shortage = 1
        self.refused = 0
        self.started = 0
        self.runners: list[RunnerClient] = []
        self._start = RunnerClient.start

    async def start(self, spec: LoadSpec, load_timeout: float, spare: None = None) -> RunnerClient:
        """Start a runner if it fits."""
        if sum(runner.is_alive for runner in self.runners) >= self.capacity:
            self.refused += 1
            raise refusal(self.shortage)
        self.started += 1
        self.runners.append(await self._start(spec, load_timeout, spare))
        return self.runners[-1]


class SmallHost(Host):
    """A host whose memory holds short contexts only."""

    async def start(self, spec: LoadSpec, load_timeout: float, spare: None = None) -> RunnerClient:
        """Start a runner if its context may be short."""
        if (spec.num_ctx or spec.min_num_ctx) > 512:
            self.refused += 1
            raise refusal(self.shortage)
        return await super().start(spec, load_timeout, spare)


class SimulatedRunner:
    """The parts of a runner that the scheduler uses, without time and memory."""

    def __init__(self, spec: LoadSpec, size: int, host: SimulatedHost) -> None:
        self.spec = spec
        self.pid = 0
        self.gpu_layers = 0
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready = Ready(spec.num_ctx, spec.num_parallel, size, 0)
        self.users = 0
        self._host = host

    @property
    def is_alive(self) -> bool:
        return not self.exited.done()

    async def stop(self) -> None:
        """Exit some time later."""
        assert self._host.closing or not self.users, "unloaded while it was in use"
        await self._host.pause()
        self.end()

    def end(self) -> None:
        """Exit, for any reason."""
        if self.is_alive:
            self._host.used -= self.ready.size
            self.exited.set_result(None)

    async def resize(self, num_ctx: int) -> None:
        """Grow if the memory suffices."""
        size = self._host.size(self.spec.model, num_ctx)
        more = size - self.ready.size
        await self._host.take(more)
        if not self.is_alive:
            self._host.used -= more
            raise OllamaError(500, CRASHED)
        self.ready = Ready(num_ctx, self.ready.slots, size, 0)


class SimulatedHost:
    """Tracks the memory of its runners: ``sizes`` of the files, and of the context."""

    def __init__(self, sizes: dict[str, int], budget: int, chance: random.Random) -> None:
        self.sizes = sizes
        self.budget = budget
        self.used = 0
        self.failing = 0.0
        self.closing = False
        self._chance = chance

    def size(self, path: str, num_ctx: int) -> int:
        return self.sizes[path] + num_ctx

    async def pause(self) -> None:
        """Yield to other tasks for a random number of loop iterations."""
        for _ in range(self._chance.randrange(8)):
            await asyncio.sleep(0)

    async def take(self, size: int) -> None:
        """Check the memory and allocate it later, as runners do; no other load may intervene."""
        free = self.budget - self.used
        await self.pause()
        if size > free:
            raise refusal(size - free)
        self.used += size
        assert self.used <= self.budget, "more was loaded than fits"

    async def start(
        self, spec: LoadSpec, load_timeout: float, spare: None = None
    ) -> SimulatedRunner:
        size = self.size(spec.model, spec.num_ctx)
        await self.take(size)
        runner = SimulatedRunner(spec, size, self)
        try:
            await self.pause()
            if self._chance.random() < self.failing:
                raise OllamaError(500, CRASHED)
        except BaseException:
            runner.end()
            raise
        return runner
