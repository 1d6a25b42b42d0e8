"""Requests to one server or several: to the least busy one, again where it asks to come later, and
to another one where it is gone.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from .async_client import AsyncClient, ServerBusy
from .errors import OllamaClientError, OllamaConnectionError, OllamaResponseError

if TYPE_CHECKING:
    from .client import Client

GONE = {502, 504}
"""What a proxy answers in place of a server that it cannot reach."""

PATIENCE = 120.0
"""Seconds for which a server may send everything away before its refusal is an error."""

FIRST_WAIT, LONGEST_WAIT = 0.5, 16.0
"""Seconds until a busy server is asked again that does not say when; they double."""

ONE_MORE_AFTER = 32
"""Answers after which one request more is tried at a time than a busy server has taken."""

LOST_FOR = 30.0
"""Seconds for which a server that is gone is not asked where there are others."""

Answer = dict[str, Any]


class Dispatcher:
    """Ask servers that have the same model. Which one answers, the caller does not see."""

    def __init__(self, clients: Sequence[Client]) -> None:
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
        """Return the JSON object that a request is answered with. Raises OllamaClientError."""
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
                    raise
                server.lost_until = _now() + LOST_FOR
                self._loss = error
            else:
                server.answered()
                return answer
            finally:
                server.in_flight -= 1
                self._ended.set()
                self._ended = asyncio.Event()

    async def _free(self) -> _Server:
        """Wait for a server that may be asked. Raises the last loss if all are lost."""
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
    """A server, and how it has taken what it was sent. Times are those of the loop's clock."""

    def __init__(self, http: AsyncClient) -> None:
        self.http = http
        self.in_flight = 0
        self.ready_at = 0.0
        self.lost_until = 0.0
        self._wait = FIRST_WAIT
        self._refuses_since: float | None = None
        self._room = math.inf
        self._answers = 0

    def pause(self) -> float:
        """Return the seconds for which the server is left alone."""
        return max(self.ready_at - _now(), 0.0)

    def full(self) -> bool:
        """Tell whether the server has as many requests as it is known to take at a time."""
        return self.in_flight >= self._room

    def burden(self) -> tuple[float, bool, int, float]:
        """Return what to compare servers by: the less the better, by chance where it is equal."""
        return self.pause(), self.full(), self.in_flight, random.random()

    def answered(self) -> None:
        """Trust the server again."""
        self._wait, self._refuses_since = FIRST_WAIT, None
        self._answers += 1
        if self._answers % ONE_MORE_AFTER == 0:
            self._room += 1

    def refused(self, error: ServerBusy) -> None:
        """Leave the server alone for a while. Raises ``error`` if that would be too long."""
        now = _now()
        self._room = max(self.in_flight - 1, 1)  # what it has not refused
        self._refuses_since = self._refuses_since or now
        if error.after is not None:
            ready_at = now + max(error.after, FIRST_WAIT)
        elif now < self.ready_at:  # said already to a request of the same time
            return
        else:
            ready_at = now + self._wait
            self._wait = min(2 * self._wait, LONGEST_WAIT)
        if ready_at - self._refuses_since > PATIENCE:
            raise error
        self.ready_at = max(self.ready_at, ready_at)


def _now() -> float:
    return asyncio.get_running_loop().time()
