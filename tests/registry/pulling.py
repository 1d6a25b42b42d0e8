"""Pulls and pushes of the tests."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from peers import FaultyRegistry, digest_of

from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store
from jupyter_ollama.registry.transfer_policy import TransferPolicy
from jupyter_ollama.registry.transfers import Transfers

QUICK = TransferPolicy(min_part=50_000, max_part=200_000, save=10_000, backoff=0.01, stall=0.5)
"""Small parts and short waits."""

WEIGHTS = os.urandom(1_000_000)
DIGEST = digest_of(WEIGHTS)
PARTS = 16
"""The ranges in which a policy of QUICK downloads WEIGHTS."""

Lines = list[dict[str, Any]]


class Puller:
    """Pulls and pushes of a store with a quick policy."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.store = store
        self.transfers = Transfers(store, **{"policy": QUICK, **settings})

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


def offsets(registry: FaultyRegistry) -> list[int]:
    """Return the starts of the requested ranges."""
    ranges = [headers["Range"] for headers in registry.asked_for(DIGEST)]
    return sorted(int(one.removeprefix("bytes=").split("-")[0]) for one in ranges)
