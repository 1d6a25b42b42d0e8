"""Give out the slots of models, loaded on demand and shared."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from ..engine.handle import Runner
from ..options import Options
from .events import Events
from .fair_queue import Grant
from .limits import LimitReached
from .loaded import LoadedModel, RunnerGone
from .loader import Loader
from .queue import Tell
from .ticket import Account, Ticket, current_ticket
from .wanted import DEFAULT_NUM_CTX, Settings, Wanted, key_of, wanted_of

if TYPE_CHECKING:
    from ..library.model import Model

log = logging.getLogger(__name__)

BUSY = "server busy, please try again.  maximum pending requests exceeded"


@dataclass
class Lease:
    """A slot of a loaded model, held while the ``async with`` block runs.

    ``options`` are the request's with num_ctx resolved; ``load_duration`` in nanoseconds is the
    time until the slot was there.
    """

    loaded: LoadedModel
    grant: Grant
    options: Options
    load_duration: int

    @property
    def runner(self) -> Runner:
        """The runner that holds the slot."""
        return self.loaded.runner

    @property
    def num_ctx(self) -> int:
        """The longest sequence in tokens for this request."""
        return self.options.num_ctx

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.loaded.give_back_slot(self.grant)


class Scheduler:
    """Knows which models are loaded and gives out their slots."""

    def __init__(self, settings: Settings, events: Events | None = None) -> None:
        self._settings = settings
        self._events = events or Events()
        self._nobody = Account("")
        if settings.kv_cache_type != "f16" and settings.flash_attention is False:
            log.warning("A quantized KV cache needs flash attention, which is off: f16 is used")
        self._loader = Loader(settings, self._events)
        self._pending = 0

    def loaded(self) -> list[LoadedModel]:
        """List what is loaded, the latest to expire first."""
        return self._loader.loaded()

    async def acquire(
        self,
        model: Model,
        options: Options,
        keep_alive: float | None = None,
        tell: Tell | None = None,
    ) -> Lease:
        """Load a model if need be, wait for a slot of it and return the lease.

        ``keep_alive`` in seconds (None: leave as it is, math.inf: for ever) replaces the model's.
        ``tell`` learns of the place in a queue while the request waits in one.
        The slot counts for the user of `current_ticket`, whose limits hold; see `FairQueue`.
        Raises OllamaError: 400 for options that exclude each other, 403 for a model that the user
        may not run, 429 if too many requests of the user wait already, 503 if too many do of all or
        the server stops, 404 if a file of the model is missing, 500 if it cannot be loaded.
        """
        start = time.perf_counter_ns()
        ticket = current_ticket.get() or Ticket(self._nobody, bulk=False)
        self._prepare(ticket, model, options)
        wanted = wanted_of(model, options, keep_alive, self._settings)
        while True:
            async with self._at_hand(wanted, ticket, tell) as loaded:
                try:
                    grant = await self._take_slot(loaded, ticket, tell)
                except RunnerGone:
                    continue
            break
        loaded.model = model
        loaded.pinned |= wanted.pinned
        if keep_alive is not None:
            loaded.keep_alive = keep_alive
        options.num_ctx = min(wanted.spec.num_ctx, loaded.num_ctx)
        duration = time.perf_counter_ns() - start
        ticket.waited += duration / 1e9
        return Lease(loaded, grant, options, duration)

    def _prepare(self, ticket: Ticket, model: Model, options: Options) -> None:
        """Apply a user's limits to what is asked for, and decide how urgent it is."""
        ticket.limits.check_model(model.name)
        ticket.limits.cap(options, self._settings.context_length or DEFAULT_NUM_CTX)
        ticket.model, ticket.digest = model.name.display, model.digest
        ticket.bulk = ticket.is_bulk

    def expire(self, model: Model) -> None:
        """Unload a model as soon as it is idle, unless it is pinned or not loaded."""
        wanted = wanted_of(model, Options(), None, self._settings)
        loaded = self._loader.find(key_of(wanted.spec))
        if loaded:
            loaded.keep_alive = 0
            loaded.restart_timer()

    async def close(self) -> None:
        """Unload everything now, and what is about to be loaded; nothing is loaded any more."""
        await self._loader.close()

    @asynccontextmanager
    async def _at_hand(
        self, wanted: Wanted, ticket: Ticket, tell: Tell | None
    ) -> AsyncIterator[LoadedModel]:
        """Yield the model as wanted, after a load if need be; it stays while the block runs."""
        loaded = self._loader.shared(wanted)
        if loaded and loaded.holds(wanted.spec.num_ctx):
            yield loaded
            return
        load = self._loader.load_for(wanted)
        with load.waiter(tell):
            with self._queue_place(ticket, beside=ticket.limits.concurrent or 1):
                loaded = await load.result()
            yield loaded

    async def _take_slot(self, loaded: LoadedModel, ticket: Ticket, tell: Tell | None) -> Grant:
        if loaded.queue.may_start(ticket):
            return await loaded.take_slot(ticket)
        with self._queue_place(ticket):
            return await loaded.take_slot(ticket, tell)

    @contextmanager
    def _queue_place(self, ticket: Ticket, beside: int = 0) -> Iterator[None]:
        """A place among the requests that wait, for a load or for a slot.

        While a model loads, ``beside`` those that may wait there are those that will not have to.
        """
        account = ticket.account
        limit = ticket.limits.queue
        if limit is not None and account.waiting >= limit + beside:
            self._refuse(ticket, f"{account.waiting} of your requests wait, the limit is {limit}")
        if self._pending >= self._settings.max_queue:
            self._refuse(ticket, BUSY, status=503)
        self._pending += 1
        account.waiting += 1
        try:
            yield
        finally:
            self._pending -= 1
            account.waiting -= 1

    def _refuse(self, ticket: Ticket, message: str, status: int = 429) -> NoReturn:
        self._events.tell("refuse", user=ticket.account.name, status=status, reason=message)
        raise LimitReached(message, ticket.account.usual_seconds, status)
