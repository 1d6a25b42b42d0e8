"""The interface of this package: fetches and searches, within the limits of each user."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .allowance import Allowance
from .guard import Guard
from .readers import Readers

if TYPE_CHECKING:
    from .settings import WebSettings


class Pages:
    """Fetches pages and searches the web as the settings say."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self.allowance = Allowance(settings)
        self.readers = Readers(settings)

    async def fetch(self, url: str, user: str) -> dict[str, Any]:
        """Return title, content and links of a page; see `fetch`. Raises LimitReached (429)."""
        settings = self._settings
        guard = Guard(settings.web_allowed_addresses, settings.web_ports)
        account = self.allowance.account(user)

        async def read(html: bytes, url: str, charset: str) -> dict[str, Any]:
            async with account.reading:
                return await self.readers.read(html, url, charset)

        with self.allowance.request(user) as count:
            # The HTTP client takes long to import: not in the event loop.
            await asyncio.to_thread(import_module, "jupyter_ollama.web.fetch")
            from .fetch import Fetch

            return await Fetch(guard, settings, read, count).page(url)

    async def search(self, query: str, results: int, user: str) -> list[dict[str, str]]:
        """Return the first results of a search; see `search`. Raises LimitReached (429)."""
        with self.allowance.request(user):
            await asyncio.to_thread(import_module, "jupyter_ollama.web.search")
            from .search import search

            return await search(query, results, self._settings)

    async def close(self) -> None:
        """End the processes that read pages."""
        await self.readers.close()
