"""The tables as one audience sees them, and what has changed in them since the last look."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from .tables import Table, Tables


class Changes:
    """The current tables of one audience, and the last change, numbered by ``version``."""

    def __init__(self) -> None:
        self.tables: Tables = {}
        self.version = 0
        self.viewers = 0
        self.last: dict[str, Any] = {}
        self._changed = asyncio.Event()

    def take(self, tables: Tables) -> None:
        """Replace the tables; wake the viewers if anything differs."""
        changed = {
            name: found
            for name, table in tables.items()
            if (found := difference(self.tables.get(name, {}), table))
        }
        if not changed and self.version:
            return
        self.tables, self.last = tables, changed
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def since(self, version: int) -> dict[str, Any]:
        """Return what a viewer needs who has seen a version, 0 for none."""
        if version and version == self.version - 1:
            return {"changes": self.last}
        return {"all": self.tables, "now": time.time()}

    async def newer(self, version: int, seconds: float) -> bool:
        """Wait for another version than that, so many seconds at most; return whether it is."""
        if self.version == version:
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                return False
        return True


def difference(before: Table, now: Table) -> dict[str, Any]:
    """Return the rows that are new or differ, and the keys that are gone; {} for none."""
    changed = {key: row for key, row in now.items() if before.get(key) != row}
    gone = [key for key in before if key not in now]
    found: dict[str, Any] = {"rows": changed} if changed else {}
    return found | ({"gone": gone} if gone else {})
