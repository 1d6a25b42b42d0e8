"""All upstreams: the models that they offer together, and the choice among them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..library.name import ModelName
from .choice import Choice, Source
from .member import LIST_SECONDS, Member
from .model import UpstreamModel
from .offers import key_of
from .polling import Poller
from .runner import UpstreamRunner
from .spec import read_spec

if TYPE_CHECKING:
    from .settings import UpstreamSettings


class Upstreams:
    """The upstreams of a server. Nothing is asked of them before their models are needed."""

    def __init__(self, settings: UpstreamSettings) -> None:
        specs = [read_spec(name, given) for name, given in settings.upstreams.items()]
        self.members = [Member(spec, settings) for spec in specs]
        poll = settings.upstream_poll_seconds
        self._pollers = {one.spec.name: Poller(one, poll) for one in self.members}
        self._first_wait = settings.upstream_connect_seconds
        self._started = time.time()

    def __bool__(self) -> bool:
        return bool(self.members)

    async def find(
        self, text: str, hops: int = 0, *, asks_again: bool = True
    ) -> UpstreamModel | None:
        """Return the model of a name, None if no upstream offers it.

        ``name@upstream`` is the model of that upstream alone. ``hops`` servers have passed the
        request on. With ``asks_again`` a name that is not known may be a new one. Raises
        InvalidName.
        """
        base, at, chosen = text.partition("@")
        name = ModelName.parse(base)
        members = [one for one in self.members if not at or one.spec.name == chosen]
        await self._ready(members)
        sources = _sources(members, name)
        if not sources and asks_again:
            await self._ready(members, again=True)
            sources = _sources(members, name)
        if not sources:
            return None
        await self._learn(sources)
        return self._model(_sources(members, name) or sources, hops, chosen)

    async def models(self) -> list[UpstreamModel]:
        """Return the models of all upstreams, each name once."""
        await self._ready(self.members)
        return self.known_models()

    def known_models(self) -> list[UpstreamModel]:
        """Return the models that the upstreams offered when they were asked last."""
        names = {key: one.name for member in self.members for key, one in member.offers.items()}
        return [self._model(_sources(self.members, name), 0) for name in names.values()]

    async def show(self, model: UpstreamModel) -> dict[str, Any]:
        """Return what an upstream says about a model in Ollama's form, {} for nothing."""
        for member, offer in model.sources:
            if found := await member.show(offer):
                return found
        return {}

    async def running(self) -> list[tuple[ModelName, dict[str, Any]]]:
        """Return the loaded models with their names here, as /api/ps of the upstreams has them."""
        if not self.members:
            return []
        await self._ready(self.members)
        members = [one for one in self.members if one.state != "failing"]
        asked = (one.client.running(self._first_wait) for one in members)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found: dict[str, tuple[ModelName, dict[str, Any]]] = {}
        for member, entries in zip(members, answers, strict=True):
            if isinstance(entries, BaseException):
                continue
            loaded = {one.get("model") or one.get("name"): one for one in entries}
            for key, offer in member.offers.items():
                if entry := loaded.get(offer.listed.name):
                    found.setdefault(key, (offer.name, entry))
        return list(found.values())

    def refresh(self) -> None:
        """Have the upstreams asked for their models, if that was not done a moment ago."""
        for poller in self._pollers.values():
            poller.wake()

    def described(self) -> list[dict[str, Any]]:
        """Return the state of each upstream, for administrators; no key is in it."""
        return [member.described() for member in self.members]

    async def close(self) -> None:
        """End polls and close every connection."""
        for poller in self._pollers.values():
            await poller.close()
        for member in self.members:
            await member.close()

    def _model(self, sources: Sequence[Source], hops: int, chosen: str = "") -> UpstreamModel:
        runner = UpstreamRunner(Choice(sources), hops)
        return UpstreamModel(sources, runner, self._started, chosen)

    async def _ready(self, members: Sequence[Member], *, again: bool = False) -> None:
        """Wait a short time for lists that are not known yet, with ``again`` for fresh ones."""
        pollers = [self._pollers[member.spec.name] for member in members]
        for poller in pollers:
            poller.wake()
        waiting = [
            asyncio.ensure_future(poller.checked(again=again))
            for poller in pollers
            if again or not poller.member.checked_at
        ]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=self._first_wait)
            for task in late:
                task.cancel()

    async def _learn(self, sources: Sequence[Source]) -> None:
        """Ask upstreams by Ollama's API for the capabilities that their lists do not state."""
        for member, offer in sources:
            if not offer.is_certain and member.spec.api == "ollama":
                with suppress(TimeoutError):
                    async with asyncio.timeout(LIST_SECONDS):
                        member.learn(offer, await member.show(offer))


def _sources(members: Sequence[Member], name: ModelName) -> list[Source]:
    key = key_of(name)
    return [(member, member.offers[key]) for member in members if key in member.offers]
