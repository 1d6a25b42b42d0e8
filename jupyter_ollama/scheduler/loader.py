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
from ..engine.vital_signs import when_stalled
from ..errors import OllamaError
from .account import Account
from .events import Events
from .eviction import eviction_order, residence_left, select_victims
from .library_watch import LibraryWatch, Names
from .load import STOPPING, Load, LoadQueue
from .load_request import Key, LoadRequest, SchedulerSettings, key_of
from .loaded import LoadedModel

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
    """Keeps the loaded models and the queue of loads."""

    def __init__(self, settings: SchedulerSettings, events: Events, library: Names) -> None:
        self._settings = settings
        self._events = events
        self._loaded: dict[Key, LoadedModel] = {}
        self._loads: list[Load] = []
        self._queue = LoadQueue()
        self._load_lock = asyncio.Lock()
        self._account_locks: WeakKeyDictionary[Account, asyncio.Lock] = WeakKeyDictionary()
        self._changed = asyncio.Event()
        self._unloading: set[asyncio.Task[None]] = set()
        self._closed = False
        self.watch = LibraryWatch(library, settings, self.loaded, self._unload)

    def loaded(self) -> list[LoadedModel]:
        """List the loaded models, the latest to expire first."""
        return sorted(self._loaded.values(), key=lambda m: m.expires_at, reverse=True)

    def find(self, key: Key) -> LoadedModel | None:
        """Return a model if it is loaded, whatever its load parameters."""
        return self._loaded.get(key)

    async def close(self) -> None:
        """Unload all models and cancel all loads; later loads fail."""
        self._closed = True
        await self.watch.close()
        tasks = [load.task for load in self._loads]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for loaded in list(self._loaded.values()):
            self._unload(loaded)
        await self._unloaded()

    def shared(self, wanted: LoadRequest) -> LoadedModel | None:
        """Return the loaded model if a request can use it, whatever the length of its context."""
        loaded = self._loaded.get(key_of(wanted.model))
        if (
            loaded
            and loaded.runner.is_alive
            and not loaded.draining
            and wanted.agrees_with(loaded.spec)
        ):
            return loaded
        return None

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

    def _lock_of(self, account: Account | None) -> AbstractAsyncContextManager[Any]:
        """Return the lock that the loads of a user take before they join the queue."""
        if account is None:
            return nullcontext()
        return self._account_locks.setdefault(account, asyncio.Lock())

    async def _load(self, load: Load) -> LoadedModel:
        """Load a model, or grow the context of the loaded one. Raises _Resident."""
        wanted = load.wanted
        spec = wanted.spec
        loaded = self.shared(wanted)
        if loaded and (loaded.holds(spec.num_ctx) or await loaded.grow(spec.num_ctx)):
            return loaded
        _check_files(wanted.model, spec)
        # Not awaited: requests that arrive meanwhile must find the models to be evicted draining.
        self.watch.check_soon()
        await self._unload_idle(partial(self._to_replace, load, load.account))
        start = time.perf_counter()
        runner = await self._start(spec, load.account)
        if self._same_model(wanted):  # loaded by another load while this one stalled
            await self._unload_idle(partial(self._to_replace, load, None))
        seconds_taken = time.perf_counter() - start
        seconds = self._settings.keep_alive if wanted.keep_alive is None else wanted.keep_alive
        loaded = LoadedModel(
            wanted.model, runner, seconds, wanted.pinned, self._changed.set, self._unload
        )
        self._loaded[loaded.key] = loaded
        runner.exited.add_done_callback(lambda _: self._forget(loaded))
        if runner.ready.placement:
            log.info("%s: %s", wanted.model.name.display, runner.ready.placement)
        self._events.emit("load", model=wanted.model.name.display, seconds=seconds_taken)
        self.watch.check_soon()  # the library may have changed during the load
        return loaded

    async def _start(self, spec: LoadSpec, account: Account | None) -> RunnerClient:
        """Start a runner; if memory is short, evict other models as far as that helps.

        If it does not, and the request names no num_ctx, load a shorter context than usual.
        """
        while True:
            await self._unloaded()
            present = list(self._loaded.values())
            try:
                return await RunnerClient.start(spec, self._settings.load_timeout)
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

    def _to_replace(self, load: Load, account: Account | None) -> list[LoadedModel]:
        """List the models to unload before a load: the same model, and those above the limit.

        Raises _Resident if one of them may not yet be evicted for the load of a user.
        """
        wanted = load.wanted
        same = self._same_model(wanted)
        loaded = self._loaded.values()
        others = eviction_order((one for one in loaded if one not in same), account)
        limit = self._settings.max_loaded_models or DEFAULT_MAX_LOADED
        going = others[: max(0, len(others) + (not wanted.pinned) - limit)]
        self._check_residence(going, account)
        return same + going

    def _same_model(self, wanted: LoadRequest) -> list[LoadedModel]:
        """List the loaded model with the same files, if there is one."""
        loaded = self._loaded.get(key_of(wanted.model))
        return [loaded] if loaded else []

    def _check_residence(self, victims: list[LoadedModel], account: Account | None) -> None:
        """Raise _Resident if one of the models may not yet be evicted for a user's load."""
        seconds = max(
            (residence_left(one, account, self._settings.min_residence) for one in victims),
            default=0.0,
        )
        if seconds:
            raise _Resident(seconds)

    def _victims(
        self, error: LoadRefused, present: list[LoadedModel], account: Account | None
    ) -> list[LoadedModel]:
        """List the victims for a load that was refused while ``present`` was loaded."""
        loaded = self._loaded.values()
        freed = sum(one.size for one in present if one not in loaded)
        victims = select_victims(eviction_order(loaded, account), error.shortage - freed)
        if victims is None:
            raise error
        self._check_residence(victims, account)
        return victims

    async def _unload_idle(self, choose: Callable[[], list[LoadedModel]]) -> None:
        """Unload the models that ``choose`` returns once all of them are idle.

        Until then they accept no new requests. ``choose`` is called again whenever a model becomes
        idle or is unloaded, and may return others.
        """
        chosen = choose()
        try:
            while any(one.users for one in chosen):
                for one in self._loaded.values():
                    one.draining = one in chosen
                self._changed.clear()
                await self._changed.wait()
                chosen = choose()
        finally:
            for one in self._loaded.values():
                one.draining = False
        for one in chosen:
            log.info("Evicting %s", one.model.name.display)
            self._unload(one)

    def _unload(self, loaded: LoadedModel) -> None:
        self._forget(loaded)
        task = asyncio.get_running_loop().create_task(loaded.runner.stop())
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    async def _unloaded(self) -> None:
        """Wait until the memory of all unloaded models is free."""
        while self._unloading:
            await asyncio.wait(self._unloading)

    def _forget(self, loaded: LoadedModel) -> None:
        if self._loaded.get(loaded.key) is loaded:
            del self._loaded[loaded.key]
            self._changed.set()
            self._events.emit("unload", model=loaded.model.name.display)


def _check_files(model: Model, spec: LoadSpec) -> None:
    for path in filter(None, (spec.model, *spec.adapters, *spec.projectors, spec.draft)):
        if not Path(path).is_file():
            message = f'model "{model.name.display}" not found, try pulling it first'
            raise OllamaError(404, message)
