"""A load that is to come or under way, and the requests that wait for it together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import OllamaError
from .loaded import LoadedModel
from .queue import Tell
from .wanted import Wanted, key_of

STOPPING = "the server is stopping"


class Load:
    """One load for all who want it; when the last of them leaves it is given up.

    ``task`` does it. What it has loaded stays until everybody who waited has taken a slot or left.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.task: asyncio.Task[LoadedModel]
        self._waiting: dict[object, Tell | None] = {}
        self._place: int | None = None
        self._loaded: LoadedModel | None = None

    def serves(self, wanted: Wanted) -> bool:
        """True if a request that wants this can wait for the load."""
        spec = self.wanted.spec
        return (
            bool(self._waiting)
            and not self.task.done()
            and key_of(wanted.spec) == key_of(spec)
            and wanted.spec.num_ctx <= spec.num_ctx
            and wanted.agrees_with(spec)
        )

    @contextmanager
    def waiter(self, tell: Tell | None) -> Iterator[None]:
        """Wait for the load, and then keep what is loaded, while the block runs."""
        key = object()
        self._waiting[key] = tell
        if tell and self._place is not None:
            tell(self._place)
        try:
            yield
        finally:
            del self._waiting[key]
            if not self._waiting:
                self._give_up()

    def _give_up(self) -> None:
        if self._loaded:
            self._loaded.leave()
        else:
            self.task.cancel()

    async def result(self) -> LoadedModel:
        """Return what is loaded. Raises OllamaError, the same for all who wait."""
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if self.task.cancelled():
                raise OllamaError(503, STOPPING) from None
            raise

    def tell(self, place: int) -> None:
        """Tell those who wait, and those who will join them, the place in the queue."""
        self._place = place
        for tell in filter(None, self._waiting.values()):
            tell(place)

    def keep(self, loaded: LoadedModel) -> None:
        """Hold what was loaded for those who waited."""
        loaded.come()
        self._loaded = loaded
