"""Leases on the slots of models, which are loaded on demand and shared by requests."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ..engine.context_length import SMALLEST_NUM_CTX
from ..errors import OllamaError
from ..options import UNQUANTIZED, Options, merge_options
from .account import Account, Counts
from .events import Events
from .lease import Lease, SlotHolder, Watchdog
from .library_watch import Names
from .limits import LimitReached
from .load_request import (
    MIN_NUM_CTX,
    LoadRequest,
    SchedulerSettings,
    build_load_request,
    key_of,
    shared_options,
)
from .loaded import LoadedModel
from .loaded_base import RunnerGone
from .loader import Loader
from .remote_model import NamedOptions, RemoteModel, RemoteQueues, RemoteSlots
from .request import ModelRequest, OnPosition, SlotClaim, State, current_request
from .share import Grant

if TYPE_CHECKING:
    from ..library.model import Model
    from ..library.name import ModelName

log = logging.getLogger(__name__)

BUSY = "server busy, please try again.  maximum pending requests exceeded"


class Scheduler:
    """Loads and unloads models and grants their slots to requests."""

    def __init__(
        self, settings: SchedulerSettings, library: Names, events: Events | None = None
    ) -> None:
        self._settings = settings
        self._events = events or Events()
        self._own_account = Account("")
        self._counts = Counts()
        if settings.kv_cache_type != UNQUANTIZED and settings.flash_attention is False:
            log.warning("A quantized KV cache needs flash attention, which is off: f16 is used")
        self._loader = Loader(settings, self._events, library)
        self._library = library
        self._remote = RemoteQueues()
        self.watchdog = Watchdog(settings.lost_slot_seconds)

    def loaded(self) -> list[LoadedModel]:
        """List the loaded models, the latest to expire first."""
        return self._loader.residents.loaded()

    async def preload(self, names: Iterable[str]) -> None:
        """Load models one after the other; failures are logged."""
        for name in names:
            try:
                model = await asyncio.to_thread(self._library.find, name)
                options, _ = merge_options(model.params)
                async with await self.acquire(model, options) as lease:
                    log.info("Loaded %s in %.1f s", name, lease.load_duration / 1e9)
            except OllamaError as error:
                log.error("%s is not loaded: %s", name, error.message)

    async def acquire(
        self,
        model: Model,
        options: Options,
        keep_alive: float | None = None,
        on_position: OnPosition | None = None,
        *,
        generates: bool = True,
    ) -> Lease:
        """Load a model if necessary, wait for one of its slots and return the lease.

        ``keep_alive`` in seconds (None: unchanged, math.inf: for ever) replaces the model's.
        ``generates`` is False for requests that generate no tokens and thus cost only their prompt.
        The slot counts for the user of `current_request`, whose limits apply; see `FairQueue`.
        Raises OllamaError: 400 for options that exclude each other and for a model that requires a
        newer Ollama, 403 for a model that the user may not run, 429 if too many requests of the
        user wait or a budget is spent, 503 if too many requests of all users wait or the server
        stops, 404 if a file of the model is missing, 500 if it cannot be loaded.
        """
        start = time.perf_counter_ns()
        request = current_request.get() or ModelRequest(self._own_account, bulk=False)
        self._prepare(request, model, options, generates)
        if isinstance(model, RemoteModel):
            return await self._acquire_remote(request, model, options, on_position, start)
        manages = request.may_manage
        usual = options if manages else shared_options(model, options, request.ignored)
        wanted = build_load_request(model, usual, keep_alive if manages else None, self._settings)
        claim = SlotClaim(request, on_position, self._counts)
        try:
            loaded, grant = await self._claim_slot(claim, wanted)
        except BaseException:
            claim.enter(State.DONE)
            raise
        loaded.model = model
        loaded.pinned |= wanted.pinned
        if keep_alive is not None:
            loaded.keep_alive = self._allowed_keep_alive(keep_alive, loaded, request)
        num_ctx = wanted.spec.num_ctx or loaded.default_num_ctx
        if not manages and options.num_ctx:
            num_ctx = max(options.num_ctx, MIN_NUM_CTX)
            request.ignored |= {"num_ctx"} if num_ctx > loaded.num_ctx else set()
        options.num_ctx = min(num_ctx, loaded.num_ctx, request.limits.num_ctx or num_ctx)
        return self._lease(request, loaded, grant, options, start)

    def _lease(
        self,
        request: ModelRequest,
        loaded: SlotHolder,
        grant: Grant,
        options: Options,
        start: int,
    ) -> Lease:
        duration = time.perf_counter_ns() - start
        request.waited += duration / 1e9
        lease = Lease(loaded, grant, options, duration, self.watchdog)
        self.watchdog.add(lease)
        return lease

    async def _acquire_remote(
        self,
        request: ModelRequest,
        model: RemoteModel,
        options: Options,
        on_position: OnPosition | None,
        start: int,
    ) -> Lease:
        """Wait for one of the slots that a model of other servers has."""
        if isinstance(options, NamedOptions) and not request.may_manage:
            request.ignored |= options.without_load_options()
        slots = self._remote.slots_of(model)
        claim = SlotClaim(request, on_position, self._counts)
        try:
            grant = await self._claim_remote(claim, slots)
        except BaseException:
            claim.enter(State.DONE)
            raise
        return self._lease(request, slots, grant, options, start)

    async def _claim_remote(self, claim: SlotClaim, slots: RemoteSlots) -> Grant:
        while True:
            if not slots.queue.may_start(claim.request):
                self._check_waiting(claim.request)
            grant = await slots.acquire_slot(claim)
            if await self._may_run(slots, grant):
                return grant

    def _allowed_keep_alive(
        self, keep_alive: float, loaded: LoadedModel, request: ModelRequest
    ) -> float:
        """Return the keep-alive of a model after a request.

        Users who may not change models can extend it up to the server's setting, but not shorten
        it for others.
        """
        if request.may_manage:
            return keep_alive
        allowed = max(loaded.keep_alive, min(keep_alive, self._settings.keep_alive))
        if allowed != keep_alive:
            request.ignored.add("keep_alive")
        return allowed

    def _prepare(
        self, request: ModelRequest, model: Model, options: Options, generates: bool
    ) -> None:
        """Apply the user's limits to the options, estimate the cost and fix the priority."""
        request.limits.check_model(model.name)
        model.check_requirement()
        request.budgets.choose(model.name.display)
        try:
            request.check_budgets()
        except LimitReached as error:
            self._emit_refusal(request, error)
            raise
        usual_num_ctx = self._settings.context_length or SMALLEST_NUM_CTX
        request.limits.cap(options, usual_num_ctx)
        request.expected_tokens = request.body_tokens
        if generates:
            num_ctx = options.num_ctx or usual_num_ctx
            prompt = min(request.body_tokens, num_ctx)
            request.expected_tokens = prompt + (
                options.num_predict if options.num_predict > 0 else num_ctx - prompt
            )
        request.model, request.digest = model.name.display, model.digest
        request.bulk = request.is_bulk

    async def _claim_slot(self, claim: SlotClaim, wanted: LoadRequest) -> tuple[LoadedModel, Grant]:
        """Wait for the model and for a slot; start again if the runner ends in between."""
        while True:
            async with self._loaded_for(claim, wanted) as loaded:
                if not loaded.queue.may_start(claim.request):
                    self._check_waiting(claim.request)
                try:
                    grant = await loaded.acquire_slot(claim)
                except RunnerGone:
                    continue
                if not await self._may_run(loaded, grant):
                    continue
            return loaded, grant

    async def _may_run(self, loaded: LoadedModel | RemoteSlots, grant: Grant) -> bool:
        """Return whether a request that has got a slot may run; it loses the slot if not.

        Raises LimitReached if requests that ended meanwhile, on any host, have spent a budget.
        """
        request = grant.request
        try:
            request.check_budgets()
            is_confirmed = await request.budgets.confirm(grant.claim.reserved)
            if not is_confirmed:
                request.check_budgets()
        except BaseException as error:
            loaded.release_slot(grant)
            if isinstance(error, LimitReached):
                self._emit_refusal(request, error)
            raise
        if not is_confirmed:
            loaded.put_back_slot(grant)
        return is_confirmed

    def expire(self, model: Model) -> None:
        """Unload a model as soon as it is idle, unless it is pinned."""
        loaded = self._loader.residents.models.get(key_of(model))
        if loaded:
            _expire(loaded)

    async def expire_by_id(self, text: str, may: Callable[[ModelName], bool]) -> bool:
        """Unload a model that is no longer in the library, or a model by its digest.

        ``text`` is a name, or the hex digest of a manifest or at least its first 12 digits. ``may``
        returns whether the caller may unload a model. Returns False if neither a loaded model nor
        one of the library matches.
        """
        digest = text.removeprefix("sha256:").lower()
        is_digest = re.fullmatch("[0-9a-f]{12,64}", digest) is not None

        def matches(model: Model) -> bool:
            same_name = model.name.matches(text)
            same = same_name or (is_digest and model.digest.startswith(digest))
            return same and may(model.name)

        found = [loaded for loaded in self.loaded() if matches(loaded.model)]
        for loaded in found:
            _expire(loaded)
        known = await asyncio.to_thread(self._library.list) if is_digest else []
        named = [model for model in known if matches(model)]
        for model in named:
            self.expire(model)
        return bool(found or named)

    def library_changed(self) -> None:
        """Unload models that lost their last name, busy ones after their requests have ended."""
        self._loader.watch.check_soon()

    async def check_library(self) -> None:
        """Call `library_changed` and wait for it, so that `loaded` has current names."""
        await self._loader.watch.check()

    async def close(self) -> None:
        """Unload all models and cancel all loads; later requests fail."""
        self.watchdog.close()
        await self._loader.close()

    @asynccontextmanager
    async def _loaded_for(
        self, claim: SlotClaim, wanted: LoadRequest
    ) -> AsyncIterator[LoadedModel]:
        """Yield a loaded model, which is kept while the block runs."""
        request = claim.request
        loaded = self._loader.residents.shared(wanted)
        if loaded and loaded.holds(wanted.spec.num_ctx):
            yield loaded
            return
        load = self._loader.load_for(wanted, None if request.may_manage else request.account)
        with load.waiter(claim):
            # Those that will run at once after the load do not count against the limit.
            self._check_waiting(request, excused=request.limits.concurrent or 1)
            claim.enter(State.LOADING)
            try:
                loaded = await load.result()
            finally:
                claim.enter(State.PREPARING)
            yield loaded

    def _check_waiting(self, request: ModelRequest, excused: int = 0) -> None:
        """Raise LimitReached if too many requests wait, of the user or in total."""
        waiting, limit = request.account.waiting, request.limits.queue
        seconds = request.account.mean_seconds
        if limit is not None and waiting >= limit + excused:
            message = f"{waiting} of your requests wait, the limit is {limit}"
            error = LimitReached(message, seconds)
        elif self._counts.waiting >= self._settings.max_queue:
            error = LimitReached(BUSY, seconds, 503)
        else:
            return
        self._emit_refusal(request, error)
        raise error

    def _emit_refusal(self, request: ModelRequest, error: LimitReached) -> None:
        self._events.emit("refuse", user=request.user, status=error.status, reason=error.message)


def _expire(loaded: LoadedModel) -> None:
    loaded.keep_alive = 0
    loaded.restart_timer()
