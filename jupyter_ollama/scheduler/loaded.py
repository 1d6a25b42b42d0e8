"""One loaded model as the scheduler sees it: its runner, its slots, its remaining time."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..engine.handle import Runner
from ..engine.protocol import LoadSpec
from ..errors import OllamaError
from .fair_queue import FairQueue, Grant
from .queue import Tell
from .ticket import Ticket

if TYPE_CHECKING:
    from ..library.model import Model

log = logging.getLogger(__name__)

FOREVER = timedelta(days=292 * 365)
"""How far in the future Ollama shows the end of a model that is kept for ever."""


class RunnerGone(Exception):
    """The runner ended while a request waited for a slot of it; the request may ask for another."""


class LoadedModel:
    """A runner, the queue for its slots, and a timer that runs while it is idle."""

    def __init__(
        self,
        model: Model,
        runner: Runner,
        keep_alive: float,
        pinned: bool,
        on_idle: Callable[[], None],
        on_expiry: Callable[[LoadedModel], None],
    ) -> None:
        """``keep_alive`` in seconds (math.inf: for ever), after which ``on_expiry`` is called."""
        self.model = model
        self.runner = runner
        self.keep_alive = keep_alive
        self.pinned = pinned
        self.users = 0
        self.used_at = time.monotonic()
        self.draining = False
        self.queue = FairQueue(runner.ready.slots)
        self._on_idle = on_idle
        self._on_expiry = on_expiry
        self._timer: asyncio.TimerHandle | None = None
        self.idle_since = datetime.now().astimezone()
        runner.exited.add_done_callback(lambda _: self._dismiss())

    @property
    def spec(self) -> LoadSpec:
        """What the runner was asked to load."""
        return self.runner.spec

    @property
    def num_ctx(self) -> int:
        """The longest sequence in tokens."""
        return self.runner.ready.num_ctx

    def holds(self, num_ctx: int) -> bool:
        """True for sequences of ``num_ctx`` tokens, or if it was loaded for them anyhow."""
        return num_ctx <= max(self.num_ctx, self.spec.num_ctx)

    @property
    def size(self) -> int:
        """Bytes loaded, weights and buffers, on all devices."""
        return self.runner.ready.size

    @property
    def size_vram(self) -> int:
        """Bytes of `size` that are not in the host's memory."""
        return self.runner.ready.size_vram

    @property
    def expires_at(self) -> datetime:
        """When the model is to be unloaded if nobody asks for it again (local time, aware)."""
        start = datetime.now().astimezone() if self.users else self.idle_since
        seconds = math.inf if self.pinned else self.keep_alive
        return start + timedelta(seconds=min(seconds, FOREVER.total_seconds()))

    async def grow(self, num_ctx: int) -> bool:
        """Make room for sequences of ``num_ctx`` tokens, the weights untouched.

        Returns False if the runner cannot; it then goes on as it was, if it still runs.
        """
        self.come()
        try:
            await self.runner.resize(num_ctx)
        except OllamaError as error:
            log.info("Runner %d keeps its context: %s", self.runner.pid, error.message)
        finally:
            self.leave()
        return self.holds(num_ctx)

    async def take_slot(self, ticket: Ticket, tell: Tell | None = None) -> Grant:
        """Wait for a slot and take it; the model does not expire meanwhile. Raises RunnerGone."""
        self.come()
        try:
            return await self.queue.take(ticket, tell)
        except BaseException:
            self.leave()
            raise

    def give_back_slot(self, grant: Grant) -> None:
        """Give a slot back; the next in line gets it."""
        self.queue.give_back(grant)
        self.leave()

    def come(self) -> None:
        """Keep the model from expiring until as many have left as have come."""
        self.users += 1
        self.used_at = time.monotonic()
        self._stop_timer()

    def leave(self) -> None:
        """Let the model expire, unless others use it."""
        self.users -= 1
        if self.users == 0:
            self.used_at = time.monotonic()
            self.idle_since = datetime.now().astimezone()
            self.restart_timer()
            self._on_idle()

    def _dismiss(self) -> None:
        """The runner has ended: those in line have to look for another."""
        self._stop_timer()
        self.queue.dismiss(RunnerGone())

    def restart_timer(self) -> None:
        """Begin to count the idle time anew."""
        self._stop_timer()
        endless = self.pinned or math.isinf(self.keep_alive)
        if self.users == 0 and not endless and self.runner.is_alive:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, self.keep_alive), self._on_expiry, self)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
