"""The connection of remote mode to the shared server that runs the models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http.cookiejar import DefaultCookiePolicy
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from jupyter_ollama_client.discovery import shared_server
from jupyter_ollama_client.errors import OllamaResponseError
from jupyter_ollama_client.responses import reason

from .errors import OllamaError

if TYPE_CHECKING:
    import ssl

    import httpx2
    from jupyter_ollama_client import Client


class NoAnswer(OllamaError):
    """The shared server did not begin to answer. ``is_sent`` is False if it was not connected."""

    def __init__(self, message: str, *, is_sent: bool) -> None:
        super().__init__(502, message)
        self.is_sent = is_sent


class UploadBody(Protocol):
    """A request body of ``size`` bytes."""

    size: int

    def read(self) -> AsyncIterator[bytes]:
        """Yield the bytes."""


class Upstream:
    """The shared server, called in the name of the user whom this server belongs to."""

    def __init__(
        self, url: str, *, client: Client | None = None, verify: ssl.SSLContext | None = None
    ) -> None:
        """Take the address; nothing is sent yet. Raises ValueError for an invalid one.

        The ``client`` of the address has the token of this server's user by default. ``verify``
        replaces the certificates that are usually accepted.
        """
        self._client = client or shared_server(url).client()
        self._verify = verify
        self._http: httpx2.AsyncClient | None = None

    @property
    def url(self) -> str:
        """The address of the shared server."""
        return self._client.url

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, headers: dict[str, str], body: UploadBody
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request; its answer can be read while the block runs. Raises NoAnswer."""
        # The HTTP client takes long to import: not in the event loop.
        httpx = await asyncio.to_thread(import_module, "httpx2")
        if self._http is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
            settings = self._client.session_settings()
            if self._verify is not None:
                settings |= {"verify": self._verify, "trust_env": False}
            self._http = httpx.AsyncClient(limits=limits, **settings)
            # Cookies of the shared server would be those of the first request's user.
            self._http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        content = None
        if body.size:
            headers["Content-Length"] = str(body.size)
            content = body.read()
        async with AsyncExitStack() as stack:
            try:
                request = self._http.stream(
                    method, self.url + path, headers=headers, content=content
                )
                response = await stack.enter_async_context(request)
            except (httpx.RequestError, httpx.InvalidURL) as error:
                text = f"the shared server at {self.url} cannot be reached: {reason(error)}"
                is_sent = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
                raise NoAnswer(text, is_sent=is_sent) from error
            yield response

    async def parts(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        """Yield the bytes of an answer as they arrive. Raises OllamaError(502) if they stop."""
        httpx = import_module("httpx2")
        try:
            async for part in response.aiter_raw():
                yield part
        except httpx.RequestError as error:
            text = f"the shared server at {self.url} has broken off: {reason(error)}"
            raise OllamaError(502, text) from error

    async def refusal(self, response: httpx2.Response) -> OllamaError:
        """Return the error for an answer that does not come from a server of this API."""
        await response.aread()
        try:
            self._client.read_object(response)
            message = f"{self.url} is not an Ollama server"
        except OllamaResponseError as error:
            message = str(error)
        return OllamaError(502 if response.status_code < 400 else response.status_code, message)

    async def close(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.aclose()
