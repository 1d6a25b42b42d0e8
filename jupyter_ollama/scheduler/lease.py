"""Leases on the slots of loaded models, and the detection of lost ones.

A lost slot is held although its request has ended. No such slot should exist. But a fault that
leaves one would cost the model that slot until the server ends, so leases are compared with
requests, and lost slots are released.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from ..engine.model_runner import ModelRunner
from ..engine.protocol import PrefixSharing
from ..options import Options
from .share import Grant

log = logging.getLogger(__name__)


class SlotHolder(Protocol):
    """A loaded model, or one that runs elsewhere."""

    @property
    def answers(self) -> ModelRunner:
        """What answers the requests that hold a slot."""

    def release_slot(self, grant: Grant) -> None:
        """Release a slot for the next request."""


@dataclass
class Lease:
    """A slot of a model, held while the ``async with`` block runs.

    ``options`` are the request's with num_ctx resolved; ``load_duration`` is the time in
    nanoseconds until the slot was granted.
    """

    loaded: SlotHolder
    grant: Grant
    options: Options
    load_duration: int
    watchdog: Watchdog

    def release(self) -> None:
        """Release the slot; a second call does nothing."""
        self.watchdog.remove(self)
        self.loaded.release_slot(self.grant)

    @property
    def runner(self) -> ModelRunner:
        """What answers the request."""
        return self.loaded.answers

    @property
    def num_ctx(self) -> int:
        """The longest sequence in tokens for this request."""
        return self.options.num_ctx

    @property
    def sharing(self) -> PrefixSharing:
        """The computed prefixes that the request may use."""
        return self.grant.request.sharing

    async def __aenter__(self) -> Lease:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class Watchdog:
    """Checks all leases every ``seconds`` while there are any."""

    def __init__(self, seconds: float) -> None:
        """``seconds`` is also the time from the end of a request to the release of its slot."""
        self._seconds = seconds
        self._held: dict[Grant, tuple[SlotHolder, weakref.ref[Lease]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.recovered = 0

    @property
    def held(self) -> int:
        """The number of slots that are held."""
        return len(self._held)

    @property
    def lost(self) -> int:
        """The number of held slots whose request has ended."""
        return sum(self._is_over(grant, lease, 0.0) for grant, (_, lease) in self._held.items())

    def add(self, lease: Lease) -> None:
        """Watch a lease."""
        self._held[lease.grant] = lease.loaded, weakref.ref(lease)
        if self._timer is None:
            self._start_timer()

    def remove(self, lease: Lease) -> None:
        """Stop watching a lease that was released."""
        self._held.pop(lease.grant, None)

    def check(self) -> None:
        """Release the slots whose requests ended long enough ago."""
        for grant, (loaded, lease) in list(self._held.items()):
            if self._is_over(grant, lease, self._seconds):
                del self._held[grant]
                loaded.release_slot(grant)
                self.recovered += 1
                log.error(
                    "A slot of %s was held after its request had ended and is released (%d so far)",
                    grant.request.model,
                    self.recovered,
                )

    def close(self) -> None:
        """Stop checking."""
        if self._timer:
            self._timer.cancel()

    def _start_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(self._seconds, 0.01), self._check_again)

    def _check_again(self) -> None:
        self._timer = None
        self.check()
        if self._held:
            self._start_timer()

    def _is_over(self, grant: Grant, lease: weakref.ref[Lease], seconds: float) -> bool:
        """Return whether the request ended so long ago, or its lease was garbage-collected."""
        closed = grant.request.closed
        return lease() is None or bool(closed and time.perf_counter() - closed >= seconds)
