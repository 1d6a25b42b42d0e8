"""Hosts that are short of memory: one with real runners, one on which all is made up."""

from __future__ import annotations

import asyncio
import random

from jupyter_ollama.engine.handle import Runner
from jupyter_ollama.engine.process import CRASHED, LoadRefused
from jupyter_ollama.engine.protocol import LoadFailed, LoadSpec, Ready
from jupyter_ollama.errors import OllamaError

SHORT = "model requires more system memory (2.0 GiB) than is available (1.0 GiB)"


def refusal(shortage: int) -> LoadRefused:
    return LoadRefused(LoadFailed(SHORT, required=2**30 + shortage, available=2**30))


class Host:
    """Has room for a number of runners; all else about them is real."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.shortage = 1
        self.refused = 0
        self.started = 0
        self.runners: list[Runner] = []
        self._start = Runner.start

    async def start(self, spec: LoadSpec, load_timeout: float) -> Runner:
        """Start a runner if there is room for it."""
        if sum(runner.is_alive for runner in self.runners) >= self.room:
            self.refused += 1
            raise refusal(self.shortage)
        self.started += 1
        self.runners.append(await self._start(spec, load_timeout))
        return self.runners[-1]


class MadeUpRunner:
    """What the scheduler asks of a runner, in no time and no memory."""

    def __init__(self, spec: LoadSpec, size: int, host: MadeUpHost) -> None:
        self.spec = spec
        self.pid = 0
        self.exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ready = Ready(spec.num_ctx, spec.num_parallel, size, 0)
        self.users = 0
        self._host = host

    @property
    def is_alive(self) -> bool:
        return not self.exited.done()

    async def stop(self) -> None:
        """End some time later."""
        assert self._host.closing or not self.users, "unloaded while it was in use"
        await self._host.pause()
        self.end()

    def end(self) -> None:
        """Be gone, by whatever reason."""
        if self.is_alive:
            self._host.used -= self.ready.size
            self.exited.set_result(None)

    async def resize(self, num_ctx: int) -> None:
        """Grow if there is room."""
        size = self._host.size(self.spec.model, num_ctx)
        more = size - self.ready.size
        await self._host.take(more)
        if not self.is_alive:
            self._host.used -= more
            raise OllamaError(500, CRASHED)
        self.ready = Ready(num_ctx, self.ready.slots, size, 0)


class MadeUpHost:
    """Keeps account of what its runners take; sizes are ``sizes`` of the files and a context."""

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
        """Let others go on, for a while of its own length each time."""
        for _ in range(self._chance.randrange(8)):
            await asyncio.sleep(0)

    async def take(self, size: int) -> None:
        """Look for room and take it later, as runners do: nobody else may do so meanwhile."""
        free = self.budget - self.used
        await self.pause()
        if size > free:
            raise refusal(size - free)
        self.used += size
        assert self.used <= self.budget, "more was loaded than there is room for"

    async def start(self, spec: LoadSpec, load_timeout: float) -> MadeUpRunner:
        size = self.size(spec.model, spec.num_ctx)
        await self.take(size)
        runner = MadeUpRunner(spec, size, self)
        try:
            await self.pause()
            if self._chance.random() < self.failing:
                raise OllamaError(500, CRASHED)
        except BaseException:
            runner.end()
            raise
        return runner
