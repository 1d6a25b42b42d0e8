"""Load on demand, share what is loaded, unload what nobody wants."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ..engine.handle import LoadRefused, Runner
from ..engine.protocol import LoadSpec
from ..errors import OllamaError
from ..options import Options
from .loaded import LoadedModel, RunnerGone
from .queue import Queue, Tell
from .wanted import Key, Settings, Wanted, key_of, wanted_of

if TYPE_CHECKING:
    from ..library.model import Model

log = logging.getLogger(__name__)

BUSY = "server busy, please try again.  maximum pending requests exceeded"
DEFAULT_MAX_LOADED = 3


@dataclass
class Lease:
    """A slot of a loaded model, held while the ``async with`` block runs.

    ``options`` are the request's with num_ctx resolved; ``load_duration`` in nanoseconds is the
    time until the slot was there.
    """

    loaded: LoadedModel
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
        self.loaded.give_back_slot()


class Scheduler:
    """Knows which models are loaded and gives out their slots."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        if settings.kv_cache_type != "f16" and settings.flash_attention is False:
            log.warning("A quantized KV cache needs flash attention, which is off: f16 is used")
        self._loaded: dict[Key, LoadedModel] = {}
        self._pending = 0
        self._loader = asyncio.Lock()
        self._load_queue = Queue()
        self._starting: asyncio.Task[Runner] | None = None
        self._unloading: set[asyncio.Task[None]] = set()

    def loaded(self) -> list[LoadedModel]:
        """List what is loaded, the latest to expire first."""
        return sorted(self._loaded.values(), key=lambda m: m.expires_at, reverse=True)

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
        Raises OllamaError: 400 for options that exclude each other, 503 if too many requests wait
        already, 404 if a file of the model is missing, 500 if it cannot be loaded.
        """
        start = time.perf_counter_ns()
        wanted = wanted_of(model, options, keep_alive, self._settings)
        too_short: LoadedModel | None = None
        while True:
            loaded = self._shared(wanted)
            if loaded is None or loaded is too_short:
                with self._queue_place():
                    loaded = await self._load(wanted, too_short, tell)
            if not loaded.holds(wanted.spec.num_ctx):
                with self._queue_place():
                    if tell:
                        tell(0)
                    if not await loaded.grow(wanted.spec.num_ctx):
                        too_short = loaded
                continue
            try:
                await self._take_slot(loaded, tell)
            except RunnerGone:
                continue
            break
        loaded.model = model
        if keep_alive is not None:
            loaded.keep_alive = keep_alive
        options.num_ctx = min(wanted.spec.num_ctx, loaded.num_ctx)
        return Lease(loaded, options, time.perf_counter_ns() - start)

    def expire(self, model: Model) -> None:
        """Unload a model as soon as it is idle; nothing happens if it is not loaded."""
        loaded = self._loaded.get(key_of(wanted_of(model, Options(), None, self._settings).spec))
        if loaded:
            loaded.keep_alive = 0
            loaded.restart_timer()

    async def close(self) -> None:
        """Unload everything now, and what is about to be loaded."""
        if self._starting:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        for loaded in list(self._loaded.values()):
            self._unload(loaded)
        await asyncio.gather(*self._unloading)

    def _shared(self, wanted: Wanted) -> LoadedModel | None:
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

    async def _take_slot(self, loaded: LoadedModel, tell: Tell | None) -> None:
        if loaded.users < loaded.runner.ready.slots:
            await loaded.take_slot()
        else:
            with self._queue_place(), loaded.queue.place(tell):
                await loaded.take_slot()

    @contextmanager
    def _queue_place(self) -> Iterator[None]:
        """A place among the requests that wait, for a load or for a slot."""
        if self._pending >= self._settings.max_queue:
            raise OllamaError(503, BUSY)
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1

    async def _load(
        self, wanted: Wanted, too_short: LoadedModel | None, tell: Tell | None
    ) -> LoadedModel:
        """Load a model, or one anew that was ``too_short``; one at a time, first come first served.

        What another request has loaded meanwhile is returned instead.
        """
        with self._load_queue.place(tell if self._loader.locked() else None):
            await self._loader.acquire()
        try:
            loaded = self._shared(wanted)
            if loaded and loaded is not too_short:
                return loaded
            if tell:
                tell(0)
            await self._make_way(wanted.spec)
            _check_files(wanted.model, wanted.spec)
            runner = await self._start(wanted.spec)
            seconds = self._settings.keep_alive
            if wanted.keep_alive is not None:
                seconds = wanted.keep_alive
            fresh = LoadedModel(wanted.model, runner, seconds, self._unload)
            self._loaded[key_of(wanted.spec)] = fresh
            fresh.restart_timer()
            runner.exited.add_done_callback(lambda _: self._forget(fresh))
            return fresh
        finally:
            self._loader.release()

    async def _start(self, spec: LoadSpec) -> Runner:
        """Start a runner; where memory is short, unload idle models as long as that can help."""
        while True:
            start = Runner.start(spec, self._settings.load_timeout)
            self._starting = asyncio.create_task(start)
            try:
                return await self._starting
            except LoadRefused as error:
                idle = [loaded for loaded in self._by_use() if not loaded.users]
                if not 0 < error.shortage <= sum(loaded.size for loaded in idle):
                    raise
                log.info("Unloading %s: %s", idle[0].model.name.display, error.message)
                await self._drain(idle[0])

    async def _make_way(self, spec: LoadSpec) -> None:
        """Unload what stands against a load: the same model loaded otherwise, or one too many."""
        same = self._loaded.get(key_of(spec))
        if same:
            await self._drain(same)
        limit = self._settings.max_loaded_models or DEFAULT_MAX_LOADED
        while len(self._loaded) >= limit:
            by_use = self._by_use()
            idle = [loaded for loaded in by_use if not loaded.users]
            await self._drain((idle or by_use)[0])

    def _by_use(self) -> list[LoadedModel]:
        """List what is loaded, the least recently used first, what is kept for ever at the end."""
        return sorted(
            self._loaded.values(),
            key=lambda loaded: (math.isinf(loaded.keep_alive), loaded.idle_since),
        )

    async def _drain(self, loaded: LoadedModel) -> None:
        """Let a model finish what it does, take nothing new, and unload it."""
        loaded.draining = True
        try:
            if loaded.users:
                await loaded.became_idle.wait()
        finally:
            loaded.draining = False
        self._unload(loaded)
        await loaded.runner.wait()

    def _unload(self, loaded: LoadedModel) -> None:
        self._forget(loaded)
        task = asyncio.get_running_loop().create_task(loaded.runner.stop())
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)

    def _forget(self, loaded: LoadedModel) -> None:
        key = key_of(loaded.spec)
        if self._loaded.get(key) is loaded:
            del self._loaded[key]


def _check_files(model: Model, spec: LoadSpec) -> None:
    for path in filter(None, (spec.model, *spec.adapters, *spec.projectors, spec.draft)):
        if not Path(path).exists():
            message = f'model "{model.name.display}" not found, try pulling it first'
            raise OllamaError(404, message)
