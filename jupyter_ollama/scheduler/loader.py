"""Loads models one at a time, and unloads those that are to make way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.handle import Runner
from ..engine.process import LoadRefused
from ..engine.protocol import LoadSpec
from ..errors import OllamaError
from .events import Events
from .eviction import enough, eviction_order
from .load import STOPPING, Load
from .loaded import LoadedModel
from .queue import Queue
from .wanted import Key, Settings, Wanted, key_of

if TYPE_CHECKING:
    from ..library.model import Model

log = logging.getLogger(__name__)

DEFAULT_MAX_LOADED = 3


class Loader:
    """Knows what is loaded and what is to be, in the order in which it was asked for."""

    def __init__(self, settings: Settings, events: Events) -> None:
        self._settings = settings
        self._events = events
        self._loaded: dict[Key, LoadedModel] = {}
        self._loads: list[Load] = []
        self._queue = Queue()
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._unloading: set[asyncio.Task[None]] = set()
        self._closed = False

    def loaded(self) -> list[LoadedModel]:
        """List what is loaded, the latest to expire first."""
        return sorted(self._loaded.values(), key=lambda m: m.expires_at, reverse=True)

    def find(self, key: Key) -> LoadedModel | None:
        """Return a model if it is loaded, be it as it may."""
        return self._loaded.get(key)

    async def close(self) -> None:
        """Unload everything now, and what is about to be loaded; nothing is loaded any more."""
        self._closed = True
        tasks = [load.task for load in self._loads]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for loaded in list(self._loaded.values()):
            self._unload(loaded)
        await self._unloaded()

    def shared(self, wanted: Wanted) -> LoadedModel | None:
        """Return the loaded model if a request can use it, be its context long enough or not."""
        loaded = self._loaded.get(key_of(wanted.spec))
        if (
            loaded
            and loaded.runner.is_alive
            and not loaded.draining
            and wanted.agrees_with(loaded.spec)
        ):
            return loaded
        return None

    def load_for(self, wanted: Wanted) -> Load:
        """Return the load that a request has to wait for. Raises OllamaError(503) at the end."""
        if self._closed:
            raise OllamaError(503, STOPPING)
        found = next((load for load in self._loads if load.serves(wanted)), None)
        return found or self._begin(wanted)

    def _begin(self, wanted: Wanted) -> Load:
        load = Load(wanted)
        load.task = asyncio.get_running_loop().create_task(self._load_in_turn(load))
        self._loads.append(load)
        load.task.add_done_callback(lambda _: self._loads.remove(load))
        return load

    async def _load_in_turn(self, load: Load) -> LoadedModel:
        """One load at a time, first come first served."""
        with self._queue.place(load.tell if self._turn.locked() else None):
            await self._turn.acquire()
        try:
            load.tell(0)
            loaded = await self._load(load.wanted)
            load.keep(loaded)
            return loaded
        finally:
            self._turn.release()

    async def _load(self, wanted: Wanted) -> LoadedModel:
        """Load a model, or make what is loaded of it fit."""
        spec = wanted.spec
        loaded = self.shared(wanted)
        if loaded and (loaded.holds(spec.num_ctx) or await loaded.grow(spec.num_ctx)):
            return loaded
        _check_files(wanted.model, spec)
        await self._unload_idle(partial(self._in_the_way, wanted))
        start = time.perf_counter()
        runner = await self._start(spec)
        seconds_taken = time.perf_counter() - start
        seconds = self._settings.keep_alive if wanted.keep_alive is None else wanted.keep_alive
        loaded = LoadedModel(
            wanted.model, runner, seconds, wanted.pinned, self._changed.set, self._unload
        )
        self._loaded[key_of(spec)] = loaded
        runner.exited.add_done_callback(lambda _: self._forget(loaded))
        self._events.tell("load", model=wanted.model.name.display, seconds=seconds_taken)
        return loaded

    async def _start(self, spec: LoadSpec) -> Runner:
        """Start a runner; where memory is short, other models make way if that can help."""
        while True:
            await self._unloaded()
            present = list(self._loaded.values())
            try:
                return await Runner.start(spec, self._settings.load_timeout)
            except LoadRefused as error:
                if not error.shortage:
                    raise
                log.info("Other models are to make way: %s", error.message)
                await self._unload_idle(partial(self._victims, error, present))

    def _in_the_way(self, wanted: Wanted) -> list[LoadedModel]:
        """List what must go before a load: the same model loaded otherwise, and one too many."""
        same = self._loaded.get(key_of(wanted.spec))
        others = eviction_order(one for one in self._loaded.values() if one is not same)
        limit = self._settings.max_loaded_models or DEFAULT_MAX_LOADED
        going = others[: max(0, len(others) + (not wanted.pinned) - limit)]
        return [same, *going] if same else going

    def _victims(self, error: LoadRefused, present: list[LoadedModel]) -> list[LoadedModel]:
        """List what makes way for a load that was refused while ``present`` was loaded."""
        loaded = self._loaded.values()
        gone = sum(one.size for one in present if one not in loaded)
        victims = enough(eviction_order(loaded), error.shortage - gone)
        if victims is None:
            raise error
        return victims

    async def _unload_idle(self, choose: Callable[[], list[LoadedModel]]) -> None:
        """Unload what ``choose`` names once all of it is idle; till then it takes nothing new.

        It may name others whenever a model gets idle or is gone.
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
            log.info("Unloading %s to make way", one.model.name.display)
            self._unload(one)

    def _unload(self, loaded: LoadedModel) -> None:
        self._forget(loaded)
        task = asyncio.get_running_loop().create_task(loaded.runner.stop())
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    async def _unloaded(self) -> None:
        """Wait until the memory of all that was unloaded is free."""
        while self._unloading:
            await asyncio.wait(self._unloading)

    def _forget(self, loaded: LoadedModel) -> None:
        key = key_of(loaded.spec)
        if self._loaded.get(key) is loaded:
            del self._loaded[key]
            self._changed.set()
            self._events.tell("unload", model=loaded.model.name.display)


def _check_files(model: Model, spec: LoadSpec) -> None:
    for path in filter(None, (spec.model, *spec.adapters, *spec.projectors, spec.draft)):
        if not Path(path).exists():
            message = f'model "{model.name.display}" not found, try pulling it first'
            raise OllamaError(404, message)
