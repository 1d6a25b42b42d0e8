"""Loads that are queued or under way, and the requests that wait for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import OllamaError
from .account import Account
from .load_request import LoadRequest, key_of
from .loaded import LoadedModel
from .request import OnPosition, SlotClaim

STOPPING = "the server is stopping"


class LoadQueue:
    """The order of loads: first come, first served."""

    def __init__(self) -> None:
        self._positions: dict[object, OnPosition | None] = {}

    @contextmanager
    def position(self, on_position: OnPosition | None) -> Iterator[None]:
        """Wait in the block; ``on_position`` is called with the position and its changes."""
        key = object()
        self._positions[key] = on_position
        if on_position:
            on_position(len(self._positions))
        try:
            yield
        finally:
            behind = list(self._positions).index(key)
            del self._positions[key]
            for position, other in enumerate([*self._positions.values()][behind:], behind + 1):
                if other:
                    other(position)


class Load:
    """One load for all requests that wait for it, cancelled when the last one is cancelled.

    ``task`` performs it. The loaded model stays until every request that waited has a slot or was
    cancelled. ``account`` is the user whose load leaves other users' models alone, None for none.
    """

    def __init__(self, wanted: LoadRequest, account: Account | None = None) -> None:
        self.wanted = wanted
        self.account = account
        self.task: asyncio.Task[LoadedModel]
        self._claims: dict[SlotClaim, None] = {}
        self._position: int | None = None
        self._loaded: LoadedModel | None = None

    def serves(self, wanted: LoadRequest) -> bool:
        """True if a request with this load request can wait for the load."""
        spec = self.wanted.spec
        return (
            bool(self._claims)
            and not self.task.done()
            and key_of(wanted.model) == key_of(self.wanted.model)
            and (wanted.spec.num_ctx == spec.num_ctx or 0 < wanted.spec.num_ctx <= spec.num_ctx)
            and wanted.agrees_with(spec)
        )

    @contextmanager
    def waiter(self, claim: SlotClaim) -> Iterator[None]:
        """Wait for the load in the block, and then keep the loaded model."""
        self._claims[claim] = None
        if self._position is not None:
            claim.move_to(self._position)
        try:
            yield
        finally:
            del self._claims[claim]
            if not self._claims:
                self._abandon()

    def _abandon(self) -> None:
        if self._loaded:
            self._loaded.release()
        else:
            self.task.cancel()

    async def result(self) -> LoadedModel:
        """Return the loaded model. Raises OllamaError, the same for all requests."""
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if self.task.cancelled():
                raise OllamaError(503, STOPPING) from None
            raise

    def move_to(self, position: int) -> None:
        """Change the position in the queue and report it to the requests that wait."""
        self._position = position
        for claim in self._claims:
            claim.move_to(position)

    def keep(self, loaded: LoadedModel) -> None:
        """Keep the loaded model for the requests that waited."""
        loaded.acquire()
        self._loaded = loaded
