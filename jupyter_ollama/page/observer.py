"""Looks at the server once a second while pages are open, once for all of them together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from ..api.requester import Requester
from ..budgets.budget import USER
from ..errors import OllamaError
from .changes import Changes
from .view import View

if TYPE_CHECKING:
    from ..config import OllamaServer

log = logging.getLogger(__name__)

SECONDS = 1.0
"""The time between two looks."""

LEAST_PAUSE = 0.1
"""The time after a look that took long."""

BEAT_SECONDS = 15.0
"""The time after which a line is sent though nothing has changed: proxies end silent streams."""

STREAM_SECONDS = 60.0
"""The time after which a page has to ask again, with what its user may see by then."""

ALL = ""
"""The audience of administrators."""

MANY = "too many pages of this server are open, try again later"


class Observer:
    """Keeps the pages that are open up to date. Without any, it does nothing."""

    def __init__(self, server: OllamaServer) -> None:
        self._server = server
        self.view = View(server)
        self._audiences: dict[str, tuple[Changes, Requester]] = {}
        self._pages: dict[str, int] = {}
        self._administrators: dict[str, tuple[str, ...]] = {}
        self._task: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    @property
    def viewers(self) -> int:
        """The number of pages that are open."""
        return sum(self._pages.values())

    @property
    def is_looking(self) -> bool:
        """Whether the server is looked at."""
        return self._task is not None

    async def watch(
        self, requester: Requester, sees_all: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the tables of a user, or all tables, then what changes in them.

        Raises OllamaError(503) if too many pages are open.
        """
        name = requester.name
        server, mine = self._server, self._pages.get(name, 0)
        if self.viewers >= server.max_page_viewers or mine >= server.max_pages_of_user:
            raise OllamaError(503, MANY)
        audience = ALL if sees_all else USER + name
        is_new = audience not in self._audiences
        changes = Changes() if is_new else self._audiences[audience][0]
        self._audiences[audience] = changes, requester
        self._pages[name] = mine + 1
        changes.viewers += 1
        if sees_all:
            self._administrators[name] = requester.groups
        if self._task is None:
            self._task = asyncio.create_task(self._look_while_watched())
        try:
            if is_new:
                await self._show_soon(audience, changes, requester)
            async for part in _parts(changes):
                yield part
        finally:
            changes.viewers -= 1
            if not changes.viewers:
                del self._audiences[audience]
                if sees_all:
                    self._administrators.clear()
            self._pages[name] -= 1
            if not self._pages[name]:
                del self._pages[name]
            if not self._audiences:
                self._wanted.set()  # the task ends at once

    async def _show_soon(self, audience: str, changes: Changes, requester: Requester) -> None:
        """Fill the first page of an audience without a wait for the next look where that goes."""
        if audience != ALL and self.view.is_ready:
            changes.take(await self.view.tables_of(requester))
        else:
            self._wanted.set()

    async def _look_while_watched(self) -> None:
        self.view.restart()
        try:
            while self._audiences:
                began = time.monotonic()
                try:
                    await self._look()
                except Exception:
                    log.exception("The page of the server cannot be brought up to date")
                await self._pause(max(LEAST_PAUSE, SECONDS - (time.monotonic() - began)))
        finally:
            self._task = None

    async def _pause(self, seconds: float) -> None:
        """Wait for the next look, or for the first page of an audience that needs one now."""
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            pass

    async def _look(self) -> None:
        """Look once and hand each audience its part."""
        self._wanted.clear()
        await self.view.look(self._administrators)
        for audience, (changes, requester) in [*self._audiences.items()]:
            if audience == ALL:
                changes.take(self.view.all_tables())
            else:
                changes.take(await self.view.tables_of(requester))


async def _parts(changes: Changes) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the tables, then changes, and beats while there are none; end after a minute."""
    seen = 0
    end = time.monotonic() + STREAM_SECONDS
    while (left := end - time.monotonic()) > 0:
        if await changes.newer(seen, min(BEAT_SECONDS, left)):
            part = changes.since(seen)
            seen = changes.version
            yield part
        else:
            yield {"beat": seen}
    yield {"end": True}
