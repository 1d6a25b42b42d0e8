"""Unloads models that no name in the library leads to any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..errors import OllamaError
from .load_request import SchedulerSettings, is_pinned, key_of
from .loaded import LoadedModel

if TYPE_CHECKING:
    from ..library.model import Model

log = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds between two checks while models are loaded.

Other servers that share the store, and users who move files, change the library without a request
to this server.
"""


class Names(Protocol):
    """The methods of the library that the scheduler calls; both read files."""

    def list(self) -> list[Model]:
        """Return all readable models."""

    def find(self, text: str) -> Model:
        """Return the model of a name. Raises OllamaError(404) if there is none."""


class LibraryWatch:
    """Compares the loaded models with the library, on request and at an interval."""

    def __init__(
        self,
        library: Names,
        settings: SchedulerSettings,
        loaded: Callable[[], list[LoadedModel]],
        unload: Callable[[LoadedModel], None],
    ) -> None:
        """``loaded`` lists the loaded models, ``unload`` unloads an idle one."""
        self._library = library
        self._settings = settings
        self._loaded = loaded
        self._unload = unload
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def check_soon(self) -> None:
        """Start a check without waiting for it."""
        if self._closed or not self._loaded():
            return
        task = asyncio.get_running_loop().create_task(self.check())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def check(self) -> None:
        """Read the library and apply it to the loaded models.

        A loaded model is shown under a name that leads to it. Without such a name it is unloaded,
        at once if it is idle, otherwise when its requests end.
        """
        async with self._lock:  # a listing must not overwrite the result of a later one
            present = self._loaded()
            if present and not self._closed:
                try:
                    named = await asyncio.to_thread(self._named, present)
                except OSError as error:
                    log.warning("the names of loaded models cannot be checked: %s", error)
                    named = {}
                for loaded in present:
                    self._apply(loaded, named.get(loaded))
            self._restart_timer()

    async def close(self) -> None:
        """End all checks."""
        self._closed = True
        self._stop_timer()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _named(self, present: list[LoadedModel]) -> dict[LoadedModel, list[Model] | None]:
        """Return the models of the library that each runner serves, None for unknown."""
        by_key: dict[object, list[Model]] = {}
        for model in self._library.list():
            with contextlib.suppress(OllamaError):  # it has no weights
                by_key.setdefault(key_of(model), []).append(model)
        return {
            loaded: by_key.get(loaded.key) or ([] if self._is_gone(loaded) else None)
            for loaded in present
        }

    def _is_gone(self, loaded: LoadedModel) -> bool:
        """Return whether the name was removed or leads to another model.

        A name that cannot be read at present does not count as removed.
        """
        try:
            return key_of(self._library.find(loaded.model.name.qualified)) != loaded.key
        except OllamaError as error:
            return error.status == 404
        except OSError:
            return False

    def _apply(self, loaded: LoadedModel, models: list[Model] | None) -> None:
        if models is None:
            return
        if models:
            name = loaded.model.name
            loaded.model = next((model for model in models if model.name == name), models[0])
        loaded.pinned = any(is_pinned(model, self._settings) for model in models)
        loaded.nameless = not models
        if loaded.nameless and not loaded.users and loaded in self._loaded():
            self._unload(loaded)

    def _restart_timer(self) -> None:
        self._stop_timer()
        if self._loaded() and not self._closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(INTERVAL, self.check_soon)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
