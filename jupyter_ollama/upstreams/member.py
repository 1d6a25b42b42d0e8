"""One upstream: its models, its state, and the requests under way to it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import one_line
from .breaker import Breaker
from .connection import Connection, Waits
from .failure import UpstreamFailure
from .offers import Offer, key_of, named_offers
from .ollama_client import OllamaClient, texts_of
from .openai_client import OpenAIClient
from .spec import UpstreamSpec
from .task import Listed, UpstreamClient

if TYPE_CHECKING:
    from .settings import UpstreamSettings

log = logging.getLogger(__name__)

LIST_SECONDS = 10.0
"""The longest time that a list of models may take: it is no work for the upstream."""

MOST_SHOWN = 32
"""Descriptions of models that are kept."""


class Member:
    """An upstream of the pool. Times are those of time.monotonic(), 0 before the event."""

    def __init__(self, spec: UpstreamSpec, settings: UpstreamSettings) -> None:
        waits = Waits(
            spec.connect_seconds or settings.upstream_connect_seconds,
            spec.first_seconds or settings.upstream_first_seconds,
            spec.pause_seconds or settings.upstream_pause_seconds,
        )
        bounds = (settings.upstream_max_line, settings.upstream_max_bytes)
        self.spec = spec
        self._connection = Connection(spec, waits, *bounds)
        self.client: UpstreamClient
        self.client = (OllamaClient if spec.api == "ollama" else OpenAIClient)(self._connection)
        self.breaker = Breaker()
        self.running = 0
        self.chosen_at = 0.0
        self.checked_at = 0.0
        self.error = ""
        self.outcomes: Counter[str] = Counter()
        self.offers: dict[str, Offer] = named_offers(spec, None)
        self._shown: dict[tuple[str, str], dict[str, Any]] = {}
        self._refreshing: asyncio.Task[bool] | None = None

    @property
    def load(self) -> float:
        """The requests under way for each unit of weight."""
        return self.running / self.spec.weight

    @property
    def state(self) -> str:
        """The state: "unknown" before the first answer, "ok", or "failing"."""
        if not self.breaker.is_closed or self.error:
            return "failing"
        return "ok" if self.checked_at or self.outcomes["answered"] else "unknown"

    async def refresh(self) -> bool:
        """Ask for the models; return whether the upstream has answered. Calls at once are one."""
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(self._refreshed)
        return await asyncio.shield(self._refreshing)

    def _refreshed(self, task: asyncio.Task[bool]) -> None:
        self._refreshing = None

    async def _refresh(self) -> bool:
        try:
            listed: list[Listed] | None = await self.client.models(LIST_SECONDS)
        except UpstreamFailure as failure:
            self._fail(failure)
            return False
        finally:
            self.checked_at = time.monotonic()
        if self.error:
            log.info('The upstream "%s" answers again', self.spec.name)
        self.error = ""
        self.offers = named_offers(self.spec, listed)
        known = {(one.listed.name, one.listed.digest) for one in self.offers.values()}
        self._shown = {key: shown for key, shown in self._shown.items() if key in known}
        self.breaker.hint()
        return True

    def _fail(self, failure: UpstreamFailure) -> None:
        if not self.error:
            log.warning("%s", one_line(failure.message))
        self.error = failure.message

    async def show(self, offer: Offer) -> dict[str, Any]:
        """Return what the upstream says about a model, {} where it says nothing."""
        key = offer.listed.name, offer.listed.digest
        if key not in self._shown:
            try:
                self._shown[key] = await self.client.show(offer.listed.name, LIST_SECONDS)
            except UpstreamFailure as failure:
                log.warning("%s", one_line(failure.message))
                return {}
            if len(self._shown) > MOST_SHOWN:
                del self._shown[next(iter(self._shown))]
        return self._shown[key]

    def learn(self, offer: Offer, shown: dict[str, Any]) -> None:
        """Keep the capabilities that the upstream states about a model."""
        stated = shown.get("capabilities")
        if isinstance(stated, list):
            known = replace(offer, capabilities=texts_of(stated), is_certain=True)
            self.offers[key_of(offer.name)] = known

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Count a request that runs on this upstream while the block runs."""
        self.running += 1
        self.chosen_at = time.monotonic()
        tries = self.breaker.begin()
        try:
            yield
        finally:
            self.running -= 1
            if tries:
                self.breaker.end()

    def succeeded(self) -> None:
        """Record that the upstream has begun to answer a request."""
        self.error = ""
        self.breaker.succeed()

    def failed(self, failure: UpstreamFailure) -> None:
        """Record the failure of a request."""
        self.outcomes[failure.kind.value] += 1
        self.breaker.fail(failure.kind)
        if not self.breaker.is_closed:
            self._fail(failure)

    def described(self) -> dict[str, Any]:
        """Return the state for administrators; it holds no key."""
        age = time.monotonic() - self.checked_at
        return {
            "name": self.spec.name,
            "url": self.spec.url,
            "api": self.spec.api,
            "state": self.state,
            "error": self.error,
            "checked_seconds_ago": round(age, 1) if self.checked_at else None,
            "running": self.running,
            "weight": self.spec.weight,
            "concurrent": self.spec.concurrent,
            "models": sorted(one.name.display for one in self.offers.values()),
            "requests": dict(self.outcomes),
        }

    async def close(self) -> None:
        """End what is under way and close every connection."""
        if self._refreshing:
            self._refreshing.cancel()
        await self._connection.close()
