"""Send requests to the least busy of several servers.

A request is retried when its server is busy, and sent to another one when its server is down.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from jupyter_ollama_client.async_client import AsyncClient, ServerBusy
from jupyter_ollama_client.errors import (
    OllamaClientError,
    OllamaConnectionError,
    OllamaResponseError,
)

from .tally import Tally

if TYPE_CHECKING:
    from jupyter_ollama_client.client import Client

GONE = {502, 504}
"""Statuses of a proxy that cannot reach its server."""

PATIENCE = 120.0
"""Seconds for which a server may refuse all requests before the refusal is an error."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 16.0
"""Seconds before a retry at a busy server that sends no Retry-After; they double."""

ONE_MORE_AFTER = 32
"""Answers after which the limit of concurrent requests to a busy server grows by one."""

LOST_FOR = 30.0
"""Seconds for which a lost server is skipped if there are others."""

Answer = dict[str, Any]


class Dispatcher:
    """Distributes requests among servers that have the same model, and counts them in ``tally``."""

    def __init__(self, clients: Sequence[Client], tally: Tally) -> None:
        self.tally = tally
        self.servers = [_Server(AsyncClient(client)) for client in clients]
        self._connections = AsyncExitStack()
        self._loss: OllamaClientError | None = None
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        for server in self.servers:
            await self._connections.enter_async_context(server.http)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._connections.aclose()

    async def call(self, path: str, body: dict[str, Any]) -> Answer:
        """Return the JSON object of a response. Raises OllamaClientError."""
        return await self._send(lambda http: http.call(path, body))

    async def embed(self, body: dict[str, Any]) -> Answer:
        """Return the answer of ``/api/embed``, its embeddings as an array."""
        return await self._send(lambda http: http.embed(body))

    async def _send(self, request: Callable[[AsyncClient], Awaitable[Answer]]) -> Answer:
        while True:
            server = await self._free()
            server.in_flight += 1
            try:
                answer = await request(server.http)
            except ServerBusy as error:
                server.refused(error)
            except (OllamaConnectionError, OllamaResponseError) as error:
                if isinstance(error, OllamaResponseError) and error.status not in GONE:
                    self.tally.add({})
                    raise
                server.lost_until = _now() + LOST_FOR
                self._loss = error
            else:
                server.answered()
                self.tally.add(answer)
                return answer
            finally:
                server.in_flight -= 1
                self._ended.set()
                self._ended = asyncio.Event()

    async def _free(self) -> _Server:
        """Wait for a server that takes a request. Raises the last error if all are lost."""
        while True:
            here = [server for server in self.servers if server.lost_until <= _now()]
            if not here and self._loss:
                raise self._loss
            server = min(here, key=_Server.burden)
            if server.pause() <= 0 and not server.full():
                return server
            pauses = [pause for pause in map(_Server.pause, here) if pause]
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), min(pauses, default=None))


class _Server:
    """A server and its load. Times are those of the clock of the event loop."""

    def __init__(self, http: AsyncClient) -> None:
        self.http = http
        self.in_flight = 0
        self.ready_at = 0.0
        self.lost_until = 0.0
        self._wait = FIRST_WAIT
        self._refuses_since: float | None = None
        self._limit = math.inf
        self._answers = 0

    def pause(self) -> float:
        """Return the seconds until the server may be sent requests again."""
        return max(self.ready_at - _now(), 0.0)

    def full(self) -> bool:
        """Return whether the server has as many requests as it is known to accept."""
        return self.in_flight >= self._limit

    def burden(self) -> tuple[float, bool, int, float]:
        """Return the sort key of the server: the least busy first, equal ones at random."""
        return self.pause(), self.full(), self.in_flight, random.random()

    def answered(self) -> None:
        """Record an answer: the server is not busy, and in time may take one request more."""
        self._wait, self._refuses_since = FIRST_WAIT, None
        self._answers += 1
        if self._answers % ONE_MORE_AFTER == 0:
            self._limit += 1

    def refused(self, error: ServerBusy) -> None:
        """Pause the server. Raises ``error`` if it has refused requests for PATIENCE seconds."""
        now = _now()
        self._limit = max(self.in_flight - 1, 1)  # the number that it has not refused
        self._refuses_since = self._refuses_since or now
        if error.after is not None:
            ready_at = now + max(error.after, FIRST_WAIT)
        elif now < self.ready_at:  # a concurrent request has paused it already
            return
        else:
            ready_at = now + self._wait
            self._wait = min(2 * self._wait, LONGEST_WAIT)
        if ready_at - self._refuses_since > PATIENCE:
            raise error
        self.ready_at = max(self.ready_at, ready_at)


def _now() -> float:
    return asyncio.get_running_loop().time()
