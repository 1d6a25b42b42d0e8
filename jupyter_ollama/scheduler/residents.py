"""The loaded models and their runners: which there are, and the end of both."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ..engine.runner_client import RunnerClient
from .events import Events
from .load_request import Key, LoadRequest, SchedulerSettings, base_key_of, key_of
from .loaded import LoadedModel
from .loaded_base import Adaptation, LoadedBase


class Residents:
    """The models in memory, and the runners that serve them. A runner ends with its last model."""

    def __init__(self, settings: SchedulerSettings, events: Events) -> None:
        self._settings = settings
        self._events = events
        self.bases: list[LoadedBase] = []
        self.models: dict[Key, LoadedModel] = {}
        self.changed = asyncio.Event()
        """Set when a model has become idle or was unloaded."""
        self._ending: set[asyncio.Task[None]] = set()

    def loaded(self) -> list[LoadedModel]:
        """List the loaded models, the latest to expire first."""
        return sorted(self.models.values(), key=lambda m: m.expires_at, reverse=True)

    def shared(self, wanted: LoadRequest) -> LoadedModel | None:
        """Return the loaded model if a request can use it, whatever the length of its context."""
        loaded = self.models.get(key_of(wanted.model))
        if loaded and loaded.base.accepts and wanted.agrees_with(loaded.spec):
            return loaded
        return None

    def base_for(self, wanted: LoadRequest) -> LoadedBase | None:
        """Return a runner that has the weights of a model and can serve it as a further one.

        None with layers on a GPU: Mesa's Vulkan driver crashes when adapters change again.
        """
        key = base_key_of(wanted.model)
        for base in self.bases:
            if base.key != key or not base.accepts or base.runner.gpu_layers:
                continue
            if wanted.agrees_with(base.spec):
                return base
        return None

    def only_base_of(self, wanted: LoadRequest) -> list[LoadedBase]:
        """List the runner of the model with the same files, if it serves no other model."""
        loaded = self.models.get(key_of(wanted.model))
        return [loaded.base] if loaded and loaded.base.models == [loaded] else []

    def add_base(self, wanted: LoadRequest, runner: RunnerClient) -> LoadedBase:
        """Keep a runner that has the weights of a model."""
        base = LoadedBase(base_key_of(wanted.model), runner)
        self.bases.append(base)
        runner.exited.add_done_callback(lambda _: self._forget_base(base))
        return base

    def add(self, wanted: LoadRequest, base: LoadedBase, adaptation: Adaptation) -> LoadedModel:
        """Keep a model, in place of itself in a runner with other options."""
        loaded = LoadedModel(
            wanted.model,
            base,
            adaptation,
            self._settings.keep_alive if wanted.keep_alive is None else wanted.keep_alive,
            wanted.pinned,
            self.changed.set,
            self.unload,
        )
        if former := self.models.get(loaded.key):
            self._forget(former)
            former.retire()
        self.models[loaded.key] = loaded
        base.runner.exited.add_done_callback(lambda _: self._forget(loaded))
        return loaded

    def unload(self, loaded: LoadedModel) -> None:
        """Unload an idle model; its runner ends with the last of its models."""
        self._forget(loaded)
        loaded.base.remove(loaded)
        self.end_unused(loaded.base)

    def end_unused(self, base: LoadedBase) -> None:
        """End a runner that serves no model, unless it is about to."""
        if base in self.bases and not base.models and not base.holds:
            self.end(base)

    def end(self, base: LoadedBase) -> None:
        """Unload all models of a runner and end it."""
        self._forget_base(base)
        task = asyncio.get_running_loop().create_task(base.runner.stop())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def ended(self) -> None:
        """Wait until the memory of all ended runners is free."""
        while self._ending:
            await asyncio.wait(self._ending)

    def _forget_base(self, base: LoadedBase) -> None:
        with suppress(ValueError):
            self.bases.remove(base)
        self.changed.set()
        for loaded in [one for one in self.models.values() if one.base is base]:
            self._forget(loaded)

    def _forget(self, loaded: LoadedModel) -> None:
        if self.models.get(loaded.key) is loaded:
            del self.models[loaded.key]
            self.changed.set()
            self._events.emit("unload", model=loaded.model.name.display)
