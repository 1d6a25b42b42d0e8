"""A loaded model as the scheduler sees it: its adapters, its users, its keep-alive timer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ..engine.model_runner import ModelRunner
from ..engine.protocol import LoadSpec
from ..engine.runner_client import RunnerClient
from ..errors import OllamaError
from .fair_queue import FairQueue
from .load_request import Key, key_of
from .loaded_base import Adaptation, LoadedBase
from .request import SlotClaim
from .share import Grant

if TYPE_CHECKING:
    from ..library.model import Model

log = logging.getLogger(__name__)

FOREVER = timedelta(days=292 * 365)
"""The time until expiry that Ollama shows for a model with an infinite keep-alive."""


class LoadedModel:
    """A model that a runner serves, perhaps beside others, and a timer that runs while it is idle.

    ``nameless`` is set while no name in the library leads to the model.
    """

    def __init__(
        self,
        model: Model,
        base: LoadedBase,
        adaptation: Adaptation,
        keep_alive: float,
        pinned: bool,
        on_idle: Callable[[], None],
        on_expiry: Callable[[LoadedModel], None],
    ) -> None:
        """Call ``on_expiry`` after ``keep_alive`` idle seconds (math.inf: never).

        ``on_idle`` is called when the last request releases the model. ``model`` is one of the
        models with the same ``key``: they have the same files, adapters included.
        """
        self.key: Key = key_of(model)
        self.model = model
        self.base = base
        self.adaptation = adaptation
        self.keep_alive = keep_alive
        self.pinned = pinned
        self.nameless = False
        self.users = 0
        """The number of users of the model: claims to slots, and `acquire` calls."""
        self.used_at = time.monotonic()
        self._on_idle = on_idle
        self._on_expiry = on_expiry
        self._timer: asyncio.TimerHandle | None = None
        self.idle_since = datetime.now().astimezone()
        base.models.append(self)
        base.runner.exited.add_done_callback(lambda _: self._stop_timer())

    @property
    def runner(self) -> RunnerClient:
        """The process that serves this model, perhaps beside others."""
        return self.base.runner

    @property
    def answers(self) -> ModelRunner:
        """What answers requests for this model, with its adapters."""
        return self.adaptation.runner

    @property
    def queue(self) -> FairQueue:
        """The queue for the slots of the runner."""
        return self.base.queue

    @property
    def draining(self) -> bool:
        """True while the model accepts no new requests, since its runner is to be evicted."""
        return self.base.draining

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
        """Bytes of weights, of its own adapters, and of buffers, on all devices."""
        return self._shared(vram=False) + self.adaptation.size

    @property
    def size_vram(self) -> int:
        """Bytes of `size` outside of the host's memory."""
        return self._shared(vram=True) + self.adaptation.size_vram

    @property
    def size_shared(self) -> int:
        """Bytes of `size` that other loaded models use as well."""
        return self._shared(vram=False) if len(self.base.models) > 1 else 0

    def part_of_memory(self, *, vram: bool) -> int:
        """Return the bytes of `size` or `size_vram`, shared ones divided among the models."""
        own = self.adaptation.size_vram if vram else self.adaptation.size
        return own + self._shared(vram=vram) // max(len(self.base.models), 1)

    def _shared(self, *, vram: bool) -> int:
        """Return the bytes of the runner, without those of adapters."""
        ready, models = self.runner.ready, self.base.models
        if vram:
            return ready.size_vram - sum(one.adaptation.size_vram for one in models)
        return ready.size - sum(one.adaptation.size for one in models)

    @property
    def generated(self) -> int:
        """Tokens that the model has generated, as the runner reported last."""
        return self.runner.memory.generated.get(self.adaptation.number, 0)

    @property
    def drafts(self) -> tuple[int, int]:
        """Drafted tokens that the model accepted and rejected, as the runner reported last."""
        memory, number = self.runner.memory, self.adaptation.number
        accepted = memory.accepted.get(number, 0)
        return accepted, memory.drafted.get(number, 0) - accepted

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

    async def acquire_slot(self, claim: SlotClaim) -> Grant:
        """Wait for a slot and take it; the model does not expire meanwhile. Raises RunnerGone."""
        self.acquire()
        try:
            grant = await self.queue.acquire(claim)
        except BaseException:
            self.release()
            raise
        self.base.used_by[claim.request.account] = time.monotonic()
        return grant

    def release_slot(self, grant: Grant) -> None:
        """Release a slot for the next request. A second call does nothing."""
        if self.queue.release(grant):
            self.release()

    def put_back_slot(self, grant: Grant) -> None:
        """Take back a slot whose request has to wait again."""
        self.queue.put_back(grant)
        self.release()

    def acquire(self) -> None:
        """Keep the model from expiring until a matching `release`."""
        self.users += 1
        self.used_at = self.base.used_at = time.monotonic()
        self._stop_timer()

    def release(self) -> None:
        """Let the model expire unless it has other users."""
        self.users -= 1
        if self.users == 0:
            self.used_at = self.base.used_at = time.monotonic()
            self.idle_since = datetime.now().astimezone()
            self.restart_timer()
            self._on_idle()

    def retire(self) -> None:
        """Unload the model as soon as it is idle: another runner serves it from now on."""
        self.nameless = True
        self.restart_timer()

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
