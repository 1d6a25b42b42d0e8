"""Loads models one at a time, and evicts others if memory or the limit requires it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec

from ..engine.context_length import SHORTEST_NUM_CTX
from ..engine.protocol import LoadSpec
from ..engine.runner_client import RunnerClient
from ..engine.runner_failures import LoadRefused
from ..engine.spare_runner import SpareRunner
from ..engine.vital_signs import when_stalled
from ..errors import OllamaError
from .account import Account
from .events import Events
from .eviction import eviction_order, residence_left, select_victims
from .library_watch import LibraryWatch, Names
from .load import STOPPING, Load, LoadQueue
from .load_request import LoadRequest, SchedulerSettings
from .loaded import LoadedModel
from .loaded_base import Adaptation, LoadedBase
from .residents import Residents

if TYPE_CHECKING:
    from ..library.model import Model

log = logging.getLogger(__name__)

DEFAULT_MAX_LOADED = 3


class _Resident(Exception):
    """A model may not be evicted for some ``seconds``, in which other loads may begin."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Loader:
    """The queue of loads. `residents` are the models that are loaded."""

    def __init__(self, settings: SchedulerSettings, events: Events, library: Names) -> None:
        self._settings = settings
        self._events = events
        self.residents = Residents(settings, events)
        self._loads: list[Load] = []
        self._queue = LoadQueue()
        self._load_lock = asyncio.Lock()
        self._account_locks: WeakKeyDictionary[Account, asyncio.Lock] = WeakKeyDictionary()
        self._closed = False
        self._spare = SpareRunner(settings.spare_runner_seconds, self._is_busy)
        self.watch = LibraryWatch(library, settings, self.residents.loaded, self.residents.unload)

    async def close(self) -> None:
        """Unload all models and cancel all loads; later loads fail."""
        self._closed = True
        await self.watch.close()
        tasks = [load.task for load in self._loads]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for base in list(self.residents.bases):
            self.residents.end(base)
        await self.residents.ended()
        await self._spare.close()

    def load_for(self, wanted: LoadRequest, account: Account | None = None) -> Load:
        """Return the load that a request waits for. Raises OllamaError(503) while stopping.

        ``account`` is the user of the request, None if models with other users may be evicted.
        """
        if self._closed:
            raise OllamaError(503, STOPPING)
        found = next((load for load in self._loads if load.serves(wanted)), None)
        return found or self._begin(wanted, account)

    def _begin(self, wanted: LoadRequest, account: Account | None) -> Load:
        load = Load(wanted, account)
        load.task = asyncio.get_running_loop().create_task(self._run_load(load))
        self._loads.append(load)
        load.task.add_done_callback(lambda _: self._loads.remove(load))
        return load

    async def _run_load(self, load: Load) -> LoadedModel:
        """Load models one at a time, first come, first served; a stalled load lets the next begin.

        One load of each account is in the queue at a time.
        """
        async with self._lock_of(load.account):
            while True:
                on_position = load.move_to if self._load_lock.locked() else None
                with self._queue.position(on_position):
                    await self._load_lock.acquire()
                with ExitStack() as stack:
                    stack.callback(self._load_lock.release)
                    load.move_to(0)
                    when_stalled.set(stack.close)
                    try:
                        loaded = await self._load(load)
                    except _Resident as resident:
                        seconds = resident.seconds
                    else:
                        load.keep(loaded)
                        return loaded
                load.move_to(1)
                await asyncio.sleep(seconds)

    def _is_busy(self) -> bool:
        """Return whether a model is being loaded, or serves a request."""
        return bool(self._loads) or any(base.users for base in self.residents.bases)

    def _lock_of(self, account: Account | None) -> AbstractAsyncContextManager[Any]:
        """Return the lock that the loads of a user take before they join the queue."""
        if account is None:
            return nullcontext()
        return self._account_locks.setdefault(account, asyncio.Lock())

    async def _load(self, load: Load) -> LoadedModel:
        """Load a model, or grow the context of the loaded one. Raises _Resident.

        Where a runner has the weights already, it loads the adapters.
        """
        wanted = load.wanted
        spec = wanted.spec
        residents = self.residents
        loaded = residents.shared(wanted)
        if loaded and (loaded.holds(spec.num_ctx) or await loaded.grow(spec.num_ctx)):
            return loaded
        _check_files(wanted.model, spec)
        if loaded is None and (base := residents.base_for(wanted)):
            loaded = await self._add(base, wanted, load.account)
            if loaded.holds(spec.num_ctx) or await loaded.grow(spec.num_ctx):
                return loaded
        # Not awaited: requests that arrive meanwhile must find the models to be evicted draining.
        self.watch.check_soon()
        await self._unload_idle(partial(self._to_replace, load, load.account))
        start = time.perf_counter()
        runner = await self._start(spec, load.account)
        if residents.only_base_of(wanted):  # loaded by another load while this one stalled
            await self._unload_idle(partial(self._to_replace, load, None))
        base = residents.add_base(wanted, runner)
        if runner.ready.placement:
            log.info("%s: %s", wanted.model.name.display, runner.ready.placement)
        self._spare.keep(spec.limits)
        return await self._add(base, wanted, load.account, time.perf_counter() - start)

    async def _add(
        self, base: LoadedBase, wanted: LoadRequest, account: Account | None, seconds: float = 0.0
    ) -> LoadedModel:
        """Let a runner serve one more model, after ``seconds`` for its load. Raises OllamaError."""
        start = time.perf_counter()
        base.holds += 1
        try:
            adaptation = await self._adapt(base, wanted.spec, account)
            loaded = self.residents.add(wanted, base, adaptation)
        finally:
            base.holds -= 1
            self.residents.end_unused(base)
        seconds += time.perf_counter() - start
        self._events.emit("load", model=wanted.model.name.display, seconds=seconds)
        self.watch.check_soon()  # the library may have changed during the load
        return loaded

    async def _adapt(self, base: LoadedBase, spec: LoadSpec, account: Account | None) -> Adaptation:
        """Load the adapters of a model; if memory is short, evict other runners if that helps."""
        while True:
            await self.residents.ended()
            present = list(self.residents.bases)
            try:
                return await base.adapt(spec.adapters)
            except LoadRefused as error:
                if not error.shortage:
                    raise
                log.info("Other models are to be evicted: %s", error.message)
                await self._unload_idle(partial(self._victims, error, present, account))

    async def _start(self, spec: LoadSpec, account: Account | None) -> RunnerClient:
        """Start a runner; if memory is short, evict other models as far as that helps.

        If it does not, and the request names no num_ctx, load a shorter context than usual.
        """
        while True:
            await self.residents.ended()
            present = list(self.residents.bases)
            try:
                spare = self._spare.take(spec.limits)
                return await RunnerClient.start(spec, self._settings.load_timeout, spare)
            except LoadRefused as error:
                if not error.shortage:
                    raise
                log.info("Other models are to be evicted: %s", error.message)
                try:
                    await self._unload_idle(partial(self._victims, error, present, account))
                except LoadRefused:
                    if spec.num_ctx or spec.min_num_ctx <= SHORTEST_NUM_CTX:
                        raise
                    spec = msgspec.structs.replace(spec, min_num_ctx=SHORTEST_NUM_CTX)

    def _to_replace(self, load: Load, account: Account | None) -> list[LoadedBase]:
        """List the runners to end before a load: that of the same model, and those above the limit.

        Raises _Resident if one of them may not yet be evicted for the load of a user.
        """
        wanted = load.wanted
        same, bases = self.residents.only_base_of(wanted), self.residents.bases
        others = eviction_order((one for one in bases if one not in same), account)
        limit = self._settings.max_loaded_models or DEFAULT_MAX_LOADED
        going = others[: max(0, len(others) + (not wanted.pinned) - limit)]
        self._check_residence(going, account)
        return same + going

    def _check_residence(self, victims: list[LoadedBase], account: Account | None) -> None:
        """Raise _Resident if one of the models may not yet be evicted for a user's load."""
        seconds = max(
            (residence_left(one, account, self._settings.min_residence) for one in victims),
            default=0.0,
        )
        if seconds:
            raise _Resident(seconds)

    def _victims(
        self, error: LoadRefused, present: list[LoadedBase], account: Account | None
    ) -> list[LoadedBase]:
        """List the victims for a load that was refused while ``present`` was loaded."""
        bases = self.residents.bases
        freed = sum(one.size for one in present if one not in bases)
        free = (one for one in bases if not one.holds)  # not the runner that loads adapters
        victims = select_victims(eviction_order(free, account), error.shortage - freed)
        if victims is None:
            raise error
        self._check_residence(victims, account)
        return victims

    async def _unload_idle(self, choose: Callable[[], list[LoadedBase]]) -> None:
        """End the runners that ``choose`` returns once all of their models are idle.

        Until then these accept no new requests. ``choose`` is called again whenever a model becomes
        idle or is unloaded, and may return others.
        """
        chosen = choose()
        try:
            while any(one.users for one in chosen):
                for one in self.residents.bases:
                    one.draining = one in chosen
                self.residents.changed.clear()
                await self.residents.changed.wait()
                chosen = choose()
        finally:
            for one in self.residents.bases:
                one.draining = False
        for one in chosen:
            log.info("Evicting %s", one.names)
            self.residents.end(one)


def _check_files(model: Model, spec: LoadSpec) -> None:
    for path in filter(None, (spec.model, *spec.adapters, *spec.projectors, spec.draft)):
        if not Path(path).is_file():
            message = f'model "{model.name.display}" not found, try pulling it first'
            raise OllamaError(404, message)
