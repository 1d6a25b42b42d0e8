"""The connection to a Redis or Valkey that keeps the budgets of several hosts."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from importlib.resources import files
from typing import Any

log = logging.getLogger(__name__)

PREFIX = "{jupyter_ollama}:"
"""Begins all keys. The braces keep them in one slot of a cluster."""

SCHEMES = {"redis", "rediss", "unix", "valkey", "valkeys"}


class StoreLost(Exception):
    """The store does not answer in time, or not as expected."""


def checked_address(address: str) -> str:
    """Return the address of a store, without its password in errors. Raises ValueError."""
    scheme, found, rest = address.partition("://")
    if not found or scheme not in SCHEMES or not rest:
        raise ValueError(f"{public_address(address)!r} does not begin with redis:// or rediss://")
    return address


def public_address(address: str) -> str:
    """Return an address without user and password."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1", address.partition("?")[0])


class RedisStore:
    """Runs the script of the budgets, one call at a time.

    ``is_new`` is True once a connection was made: what was written before may be lost.
    """

    def __init__(self, address: str, timeout: float) -> None:
        """Connect at the first call. A call takes ``timeout`` seconds at most."""
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise RuntimeError(
                'budget_store needs the package redis: pip install "jupyter-ollama[budgets]"'
            ) from None
        self.address = public_address(address)
        self.timeout = timeout
        self.is_new = False
        self._lock = asyncio.Lock()
        self._client: Redis = Redis.from_url(
            re.sub("^valkey", "redis", address),
            retry=Retry(NoBackoff(), 0),
            single_connection_client=True,
            redis_connect_func=self._connected,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            decode_responses=True,
        )
        script = files(__package__).joinpath("shared_budgets.lua").read_text("utf-8")
        self._script = self._client.register_script(script)

    async def _connected(self, connection: Any) -> None:
        await connection.on_connect()
        self.is_new = True

    async def call(self, query: dict[str, Any]) -> dict[str, Any]:
        """Run the script. Raises StoreLost."""
        from redis.exceptions import RedisError

        try:
            async with asyncio.timeout(self.timeout), self._lock:
                # An interrupted call leaves an unread reply, so the connection ends with it.
                try:
                    text = await self._script(keys=[PREFIX], args=[json.dumps(query)])
                except BaseException:
                    await self._disconnect()
                    raise
        except TimeoutError:
            raise StoreLost(f"no answer within {self.timeout:g} s") from None
        except (RedisError, OSError) as error:
            raise StoreLost(str(error)) from None
        reply: dict[str, Any] = json.loads(text)
        return reply

    async def _disconnect(self) -> None:
        connection = self._client.connection
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
