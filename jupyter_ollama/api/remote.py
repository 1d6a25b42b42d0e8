"""Remote mode: every call goes on to a shared server, and its answer back as it comes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any

from jupyter_ollama_magics.client import reason
from jupyter_ollama_magics.discovery import shared_server
from jupyter_ollama_magics.errors import OllamaResponseError

from ..errors import OllamaError
from .endpoint import Body, Call, Endpoint
from .jupyter import JupyterExchange

if TYPE_CHECKING:
    import httpx2

_IN_MEMORY = 2**20
_CHUNK = 2**18
_CONTENT = ("Accept", "Accept-Encoding", "Content-Type", "Content-Encoding", "User-Agent")
_ANSWER = ("Content-Type", "Cache-Control", "Retry-After", "Allow", "WWW-Authenticate")
_OWN = re.compile("X-(Request-Id|Ollama-.*|RateLimit-.*)", re.IGNORECASE)
"""Headers that this API and its clients have agreed on; they go both ways."""
_PASSED_ON = "X-Ollama-Passed-On"
"""Keeps an address that leads back here from being asked for ever."""


class Spool:
    """A request body that waits for its way on: in memory, or in a file if it is big."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed after the request
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Keep the next bytes."""
        self._file.write(chunk)
        self.size += len(chunk)

    async def read(self) -> AsyncIterator[bytes]:
        """Yield all of it."""
        self._file.seek(0)
        while chunk := await asyncio.to_thread(self._file.read, _CHUNK):
            yield chunk

    def close(self) -> None:
        """Forget the bytes."""
        self._file.close()


class Remote:
    """The shared server, which is asked in the name of the user whom this server belongs to."""

    def __init__(self, url: str) -> None:
        """Take the address; nothing is sent yet. Raises ValueError for what is none."""
        self._client = shared_server(url).client()
        self._http: httpx2.AsyncClient | None = None

    @property
    def url(self) -> str:
        """The address of the shared server."""
        return self._client.url

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, headers: dict[str, str], body: Spool
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request; its answer can be read while the block runs. Raises OllamaError(502)."""
        # The HTTP client takes long to import: not in the event loop.
        httpx = await asyncio.to_thread(import_module, "httpx2")
        if self._http is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
            self._http = httpx.AsyncClient(limits=limits, **self._client.session_settings())
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
                raise OllamaError(502, text) from error
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
            message = f"{self.url} is no Ollama server"
        except OllamaResponseError as error:
            message = str(error)
        return OllamaError(502 if response.status_code < 400 else response.status_code, message)

    async def close(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.aclose()


class RemoteExchange(JupyterExchange):
    """Pass on one route for users that this Jupyter server knows."""

    def open_body(self, endpoint: Endpoint, call: Call) -> Body:
        """Take bodies as they are, of any size: the shared server has the say."""
        return Spool()

    def _enter(self, endpoint: Endpoint, call: Call, *_: Any) -> None:
        """Leave ids and limits to the shared server."""

    async def _run(self, endpoint: Endpoint, call: Call) -> None:
        if self._body_error is not None:
            raise self._body_error
        assert isinstance(call.body, Spool)
        remote = self.server.remote
        if _PASSED_ON in self.request.headers:
            raise OllamaError(508, f"{remote.url} does not run models but passes calls on, too")
        headers = {"Accept-Encoding": "identity", _PASSED_ON: "1"}
        for name, value in self.request.headers.items():
            if name in _CONTENT or _OWN.fullmatch(name):
                headers[name] = value
        method = self.request.method or ""
        async with remote.ask(method, self._path(), headers, call.body) as response:
            kind = response.headers.get("content-type", "").partition(";")[0]
            if response.is_redirect or (response.is_error and not kind.endswith("json")):
                raise await remote.refusal(response)
            self._begin(response)
            try:
                async for part in remote.parts(response):
                    self.write(part)
                    self.touch()
                    await self.flush()
            except OllamaError as error:
                self._break_off(kind, error)
                return
        self.end(self._headers.get("Content-Type", ""))

    def _begin(self, response: httpx2.Response) -> None:
        """Take over status and headers."""
        self.set_status(response.status_code)
        for name, value in response.headers.items():
            if name.title() in _ANSWER or _OWN.fullmatch(name):
                self.set_header(name.title(), value)
        # What is here is the encoding of the bytes that come; Tornado must not add its own.
        self.set_header("Content-Encoding", response.headers.get("content-encoding", "identity"))
        self.request.connection.stream.set_nodelay(True)  # type: ignore[union-attr]

    def _break_off(self, kind: str, error: OllamaError) -> None:
        """End a stream with an error that its reader understands, anything else by hanging up."""
        dialect = self.route.dialect
        if kind == dialect.content_type and self._headers.get("Content-Encoding") == "identity":
            self.write(dialect.part(dialect.error(error.status, error.message), 1))
            self.end(dialect.content_type)
        else:
            self.request.connection.stream.close()  # type: ignore[union-attr]

    def _path(self) -> str:
        """Return the path below the mount point, as it was sent, and the query."""
        mount = f"{self.base_url}/{self.mount}".split("/")
        depth = sum(1 for part in mount if part)
        path, _, query = (self.request.uri or "").partition("?")
        below = "".join(f"/{part}" for part in path.split("/")[1 + depth :])
        return below + (f"?{query}" if query else "")
