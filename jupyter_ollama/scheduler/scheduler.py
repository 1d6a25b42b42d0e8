"""Load on demand, share what is loaded, unload what nobody wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from ..engine.handle import Runner
from ..engine.protocol import LoadSpec
from ..errors import OllamaError
from ..options import Options
from .loaded import LoadedModel, RunnerGone

if TYPE_CHECKING:
    from ..library.model import Model

BUSY = "server busy, please try again.  maximum pending requests exceeded"
DEFAULT_NUM_CTX = 4096
MIN_NUM_CTX = 4
DEFAULT_MAX_LOADED = 3

Key = tuple[str, tuple[str, ...], tuple[str, ...]]


class Settings(Protocol):
    """What the scheduler asks of the configuration; times in seconds, 0 is automatic."""

    keep_alive: float
    load_timeout: float
    max_loaded_models: int
    max_queue: int
    num_parallel: int
    context_length: int
    kv_cache_type: str
    flash_attention: bool | None


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
        self._loaded: dict[Key, LoadedModel] = {}
        self._pending = 0
        self._loader = asyncio.Lock()
        self._starting: asyncio.Task[Runner] | None = None
        self._unloading: set[asyncio.Task[None]] = set()

    def loaded(self) -> list[LoadedModel]:
        """List what is loaded, the latest to expire first."""
        return sorted(self._loaded.values(), key=lambda m: m.expires_at, reverse=True)

    async def acquire(
        self, model: Model, options: Options, keep_alive: float | None = None
    ) -> Lease:
        """Load a model if need be, wait for a slot of it and return the lease.

        ``keep_alive`` in seconds (None: leave as it is, math.inf: for ever) replaces the model's.
        Raises OllamaError: 503 if too many requests wait already, 404 if a file of the model is
        missing, 500 if it cannot be loaded.
        """
        start = time.perf_counter_ns()
        spec = self._spec(model, options)
        while True:
            loaded = self._usable(spec)
            if loaded is None:
                with self._queue_place():
                    loaded = await self._load(model, spec, keep_alive)
            try:
                await self._take_slot(loaded)
            except RunnerGone:
                continue
            break
        loaded.model = model
        if keep_alive is not None:
            loaded.keep_alive = keep_alive
        options.num_ctx = min(spec.num_ctx, loaded.num_ctx)
        return Lease(loaded, options, time.perf_counter_ns() - start)

    def expire(self, model: Model) -> None:
        """Unload a model as soon as it is idle; nothing happens if it is not loaded."""
        loaded = self._loaded.get(_key(self._spec(model, Options())))
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

    def _spec(self, model: Model, options: Options) -> LoadSpec:
        settings = self._settings
        num_ctx = options.num_ctx or settings.context_length or DEFAULT_NUM_CTX
        trained = model.header.metadata.get(f"{model.header.architecture}.context_length")
        if isinstance(trained, int) and trained > 0:
            num_ctx = min(num_ctx, trained)
        return LoadSpec(
            model=str(model.model_path),
            adapters=tuple(map(str, model.adapter_paths)),
            projectors=tuple(map(str, model.projector_paths)),
            num_ctx=max(num_ctx, MIN_NUM_CTX),
            num_parallel=settings.num_parallel,
            num_batch=max(1, options.num_batch),
            num_gpu=options.num_gpu,
            main_gpu=options.main_gpu,
            use_mmap=options.use_mmap,
            num_thread=options.num_thread,
            kv_cache_type=settings.kv_cache_type,
            flash_attention=settings.flash_attention,
        )

    def _usable(self, spec: LoadSpec) -> LoadedModel | None:
        loaded = self._loaded.get(_key(spec))
        if loaded and loaded.runner.is_alive and not loaded.draining and _fits(spec, loaded.spec):
            return loaded
        return None

    async def _take_slot(self, loaded: LoadedModel) -> None:
        if loaded.users < loaded.runner.ready.slots:
            await loaded.take_slot()
        else:
            with self._queue_place():
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

    async def _load(self, model: Model, spec: LoadSpec, keep_alive: float | None) -> LoadedModel:
        """Load a model; one at a time, in the order of the requests."""
        async with self._loader:
            loaded = self._usable(spec)
            if loaded:
                return loaded
            await self._make_way(spec)
            _check_files(model, spec)
            start = Runner.start(spec, self._settings.load_timeout)
            self._starting = asyncio.create_task(start)
            runner = await self._starting
            seconds = self._settings.keep_alive if keep_alive is None else keep_alive
            fresh = LoadedModel(model, runner, seconds, self._unload)
            self._loaded[_key(spec)] = fresh
            fresh.restart_timer()
            runner.exited.add_done_callback(lambda _: self._forget(fresh))
            return fresh

    async def _make_way(self, spec: LoadSpec) -> None:
        """Unload what stands against a load: the same model loaded otherwise, or one too many."""
        same = self._loaded.get(_key(spec))
        if same:
            await self._drain(same)
        limit = self._settings.max_loaded_models or DEFAULT_MAX_LOADED
        while len(self._loaded) >= limit:
            by_length = sorted(self._loaded.values(), key=lambda m: m.keep_alive)
            idle = [m for m in by_length if not m.users]
            await self._drain((idle or by_length)[0])

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
        key = _key(loaded.spec)
        if self._loaded.get(key) is loaded:
            del self._loaded[key]


def _key(spec: LoadSpec) -> Key:
    return spec.model, spec.adapters, spec.projectors


def _check_files(model: Model, spec: LoadSpec) -> None:
    for path in (spec.model, *spec.adapters, *spec.projectors):
        if not Path(path).exists():
            message = f'model "{model.name.display}" not found, try pulling it first'
            raise OllamaError(404, message)


def _fits(wanted: LoadSpec, loaded: LoadSpec) -> bool:
    """True if a request can use what is loaded: smaller contexts and automatic values can."""
    default = LoadSpec(model="")
    return wanted.num_ctx <= loaded.num_ctx and all(
        getattr(wanted, name) in (getattr(default, name), getattr(loaded, name))
        for name in ("num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread")
    )
