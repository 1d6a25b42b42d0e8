"""Concurrent requests to the server of a Client: those of rows, and streams."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

from . import vectors
from .addresses import is_loopback
from .errors import OllamaConnectionError, OllamaResponseError
from .local_http import BadResponse, LocalHTTP
from .responses import reason, without_none
from .transport import CONNECT_TIMEOUT

if TYPE_CHECKING:
    import httpx2

    from .client import Client

BUSY = {429, 503}
"""The server refused the request unread: a quota is used up or the queue is full."""


BROKEN = (ConnectionResetError, BrokenPipeError)
"""The errors of a connection that was open."""

BULK = {"X-Ollama-Priority": "bulk"}
"""The header that ranks rows below interactive requests; only jupyter_ollama reads it."""


class ServerBusy(OllamaResponseError):
    """The server asks for a retry after ``after`` seconds, None where it gives no time."""

    def __init__(self, status: int, message: str, after: float | None) -> None:
        super().__init__(status, message)
        self.after = after


class AsyncClient:
    """Posts requests from coroutines of one event loop; cancelling one closes its connection."""

    def __init__(self, client: Client) -> None:
        import httpx2

        self._client = client
        transport = httpx2.AsyncHTTPTransport(uds=client.socket) if client.socket else None
        settings = client.session_settings()
        self._http = httpx2.AsyncClient(transport=transport, **settings)
        self._local: LocalHTTP | None = None
        if client.socket or (is_loopback(client.url) and client.url.startswith("http:")):
            self._local = LocalHTTP(client.url, client.socket, settings["headers"], CONNECT_TIMEOUT)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        if self._local is not None:
            self._local.close()
        await self._http.__aexit__(*error)

    async def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object of a response. Raises OllamaClientError."""
        return self._read(self._client.responses.object, await self._post(path, body, BULK))

    async def embed(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of ``/api/embed``, its embeddings as an array."""
        body = body | {"encoding_format": "base64"}
        response = await self._post("/api/embed", body, {"Accept": vectors.accepted()} | BULK)
        return self._read(self._client.responses.embeddings, response)

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Post a request and yield the objects of its NDJSON answer as they arrive."""
        request = {"json": without_none(body)}
        with self._connecting():
            async with self._http.stream("POST", self._client.url + path, **request) as response:
                if not response.is_success:
                    await response.aread()
                    self._client.responses.require_success(response)
                rest = b""
                async for piece in response.aiter_bytes():
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in filter(bytes.strip, lines):
                        yield self._client.responses.item(line, response)
                if rest.strip():
                    yield self._client.responses.item(rest, response)

    async def _post(
        self, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> httpx2.Response:
        with self._connecting():
            if self._local is not None:
                return await self._local.post(path, _encoded(body), headers)
            url = self._client.url + path
            return await self._http.post(url, json=without_none(body), headers=headers)

    def _read(
        self, read: Callable[[httpx2.Response], dict[str, Any]], response: httpx2.Response
    ) -> dict[str, Any]:
        try:
            return read(response)
        except OllamaResponseError as error:
            if error.status not in BUSY:
                raise
            after = _seconds(response.headers.get("Retry-After", ""))
            raise ServerBusy(error.status, error.message, after) from None

    @contextmanager
    def _connecting(self) -> Iterator[None]:
        import httpx2

        try:
            yield
        except (httpx2.RequestError, httpx2.InvalidURL, OSError, BadResponse) as error:
            broken = (httpx2.ReadError, httpx2.RemoteProtocolError, BadResponse, *BROKEN)
            connected = isinstance(error, broken)
            raise OllamaConnectionError(
                self._client.url, reason(error), connected=connected
            ) from error


def _encoded(body: dict[str, Any]) -> bytes:
    """Return the JSON of a body. Raises ValueError for a text that has no encoding."""
    separators = (",", ":")
    text = json.dumps(
        without_none(body), ensure_ascii=False, allow_nan=False, separators=separators
    )
    return text.encode()


def _seconds(text: str) -> float | None:
    """Return the seconds of a Retry-After header, None without a valid one."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
