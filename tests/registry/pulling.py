"""Pulls and pushes as the tests make them, and what a store has afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store
from jupyter_ollama.registry.pace import Pace
from jupyter_ollama.registry.transfers import Transfers

QUICK = Pace(min_part=50_000, max_part=200_000, save=10_000, backoff=0.01, stall=0.5)
"""Small parts and short waits."""

Lines = list[dict[str, Any]]


class Puller:
    """Pulls and pushes of a store with a quick pace."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.store = store
        self.transfers = Transfers(store, **{"pace": QUICK, **settings})

    def pull(self, name: str, insecure: bool = True) -> Lines:
        """Pull and return all status lines."""
        return asyncio.run(self.pulling(name, insecure))

    async def pulling(self, name: str, insecure: bool = True) -> Lines:
        """Pull and return all status lines."""
        return [line async for line in self.transfers.pull(ModelName.parse(name), insecure)]

    def push(self, name: str, insecure: bool = True) -> Lines:
        """Push and return all status lines."""
        return asyncio.run(self._pushing(name, insecure))

    async def _pushing(self, name: str, insecure: bool) -> Lines:
        return [line async for line in self.transfers.push(ModelName.parse(name), insecure)]


def files(store: Store) -> dict[str, bytes]:
    """Tell all files of a store and what is in them; the lock file does not count."""
    found = (path for path in store.root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in found
        if path.name != ".jupyter-ollama.lock"
    }
