"""The hosts that share budgets, as one of them knows them from its calls of the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .clock import Clock
from .host_name import is_gone, member_of
from .redis_store import RedisStore, StoreLost

ALIVE_SECONDS = 10.0
"""Time without a call after which a host, and what its requests have reserved, does not count."""


class Membership:
    """One host among those that share budgets.

    ``hosts`` is the number of hosts at the last call. ``on_overrides`` is called
    with the limits that an administrator has set for a time on any of them.
    """

    def __init__(self, store: RedisStore, host: str, hosts: int, clock: Clock) -> None:
        """``hosts`` is the number that is assumed until the first call."""
        self.store = store
        self.host = host
        self.hosts = hosts
        self.on_overrides: Callable[[dict[str, str]], None] = lambda _: None
        self._clock = clock
        self._member = member_of(host)
        self._replaces = ""
        self._version = "unknown"

    async def call(self, query: dict[str, Any]) -> dict[str, Any]:
        """Run the script of the store. Raises StoreLost."""
        sender = {
            "host": self.host,
            "member": self._member,
            "ttl": ALIVE_SECONDS,
            "replaces": self._replaces,
            "version": self._version,
        }
        reply = await self.store.call(sender | query)
        if clash := reply.get("clash"):
            if clash == self._replaces or not is_gone(clash):
                raise StoreLost(f"another server has the name {self.host}: set budget_host")
            self._replaces = clash
            return await self.call(query)
        self.hosts = reply["hosts"]
        self._clock.follow(float(reply["now"]))
        if "overrides" in reply:
            flat = iter(reply["overrides"] or ())
            self._version = reply["version"]
            self.on_overrides(dict(zip(flat, flat, strict=True)))
        return reply

    async def set_override(self, field: str, value: str) -> None:
        """Set limits for a time on all hosts; "" removes them. Raises StoreLost."""
        await self.call({"overrides": [{"field": field, "value": value}]})

    async def leave(self) -> None:
        """Leave the hosts, and close the connection."""
        try:
            await self.call({"leaves": True})
        except StoreLost:
            pass
        await self.store.close()
