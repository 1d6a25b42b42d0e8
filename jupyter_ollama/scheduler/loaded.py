"""A loaded model as the scheduler sees it: its runner, its slots, its keep-alive timer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..engine.protocol import LoadSpec
from ..engine.runner_client import RunnerClient
from ..errors import OllamaError
from .account import Account
from .fair_queue import FairQueue
from .load_request import Key, key_of
from .request import SlotClaim
from .share import Grant

if TYPE_CHECKING:
    from ..library.model import Model

log = logging.getLogger(__name__)

FOREVER = timedelta(days=292 * 365)
"""The time until expiry that Ollama shows for a model with an infinite keep-alive."""


class RunnerGone(Exception):
    """The runner ended while a request waited for one of its slots; the request may retry."""


class LoadedModel:
    """A runner, the queue for its slots, and a timer that runs while it is idle.

    ``draining`` is set while the model accepts no new requests, since it is to be evicted.
    ``nameless`` is set while no name in the library leads to the model.
    """

    def __init__(
        self,
        model: Model,
        runner: RunnerClient,
        keep_alive: float,
        pinned: bool,
        on_idle: Callable[[], None],
        on_expiry: Callable[[LoadedModel], None],
    ) -> None:
        """Call ``on_expiry`` after ``keep_alive`` idle seconds (math.inf: never).

        ``on_idle`` is called when the last request releases the model. ``model`` is one of the
        models that the runner serves; all of them have the same ``key``.
        """
        self.key: Key = key_of(model)
        self.model = model
        self.runner = runner
        self.keep_alive = keep_alive
        self.pinned = pinned
        self.nameless = False
        self.used_at = self.loaded_at = time.monotonic()
        self.used_by: dict[Account, float] = {}
        self.draining = False
        self.queue = FairQueue(runner.ready.slots)
        self._holds = 0
        self._on_idle = on_idle
        self._on_expiry = on_expiry
        self._timer: asyncio.TimerHandle | None = None
        self.idle_since = datetime.now().astimezone()
        runner.exited.add_done_callback(lambda _: self._fail_waiting())

    @property
    def users(self) -> int:
        """The number of users of the model: claims to its slots, and `acquire` calls."""
        return self.queue.claims + self._holds

    @property
    def spec(self) -> LoadSpec:
        """The load parameters of the runner."""
        return self.runner.spec

    @property
    def num_ctx(self) -> int:
        """The longest sequence in tokens."""
        return self.runner.ready.num_ctx

    @property
    def default_num_ctx(self) -> int:
        """The context length in tokens of a request without num_ctx."""
        return self.runner.ready.default_num_ctx or self.num_ctx

    def holds(self, num_ctx: int) -> bool:
        """True if sequences of ``num_ctx`` tokens fit, or if the model was loaded for that length.

        0 stands for the default.
        """
        return (num_ctx or self.default_num_ctx) <= max(self.num_ctx, self.spec.num_ctx)

    @property
    def size(self) -> int:
        """Bytes of weights and buffers on all devices."""
        return self.runner.ready.size

    @property
    def size_vram(self) -> int:
        """Bytes of `size` outside of the host's memory."""
        return self.runner.ready.size_vram

    @property
    def expires_at(self) -> datetime:
        """When the model is unloaded unless another request arrives (local time, aware)."""
        start = datetime.now().astimezone() if self.users else self.idle_since
        return start + timedelta(seconds=min(self._idle_limit, FOREVER.total_seconds()))

    @property
    def _idle_limit(self) -> float:
        """Idle seconds after which the model is unloaded; math.inf for never."""
        if self.nameless:
            return 0.0
        return math.inf if self.pinned else self.keep_alive

    async def grow(self, num_ctx: int) -> bool:
        """Grow the contexts to sequences of ``num_ctx`` tokens (0: the default).

        Returns False if the runner cannot; its context is then unchanged.
        """
        self.acquire()
        try:
            await self.runner.resize(num_ctx or self.default_num_ctx)
        except OllamaError as error:
            log.info("Runner %d keeps its context: %s", self.runner.pid, error.message)
        finally:
            self.release()
        return self.holds(num_ctx)

    def users_since(self, seconds: float) -> set[Account]:
        """Return the users of the last ``seconds``; earlier ones are forgotten."""
        since = time.monotonic() - seconds
        self.used_by = {one: at for one, at in self.used_by.items() if at > since}
        return {*self.used_by}

    async def acquire_slot(self, claim: SlotClaim) -> Grant:
        """Wait for a slot and take it; the model does not expire meanwhile. Raises RunnerGone."""
        self._use()
        try:
            grant = await self.queue.acquire(claim)
        except BaseException:
            self._check_idle()
            raise
        self.used_by[claim.request.account] = time.monotonic()
        return grant

    def release_slot(self, grant: Grant) -> None:
        """Release a slot for the next request. A second call does nothing."""
        if self.queue.release(grant):
            self._check_idle()

    def acquire(self) -> None:
        """Keep the model from expiring until a matching `release`."""
        self._holds += 1
        self._use()

    def release(self) -> None:
        """Let the model expire unless it has other users."""
        self._holds -= 1
        self._check_idle()

    def _use(self) -> None:
        self.used_at = time.monotonic()
        self._stop_timer()

    def _check_idle(self) -> None:
        if self.users == 0:
            self.used_at = time.monotonic()
            self.idle_since = datetime.now().astimezone()
            self.restart_timer()
            self._on_idle()

    def _fail_waiting(self) -> None:
        """Let the requests in the queue look for another runner: this one has ended."""
        self._stop_timer()
        self.queue.fail(RunnerGone())

    def restart_timer(self) -> None:
        """Restart the keep-alive timer if the model is idle."""
        self._stop_timer()
        seconds = self._idle_limit
        if self.users == 0 and not math.isinf(seconds) and self.runner.is_alive:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, seconds), self._on_expiry, self)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
