"""HTTP to one upstream: bounded answers, bounded waits, nothing of the client's but the request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from importlib import import_module
from typing import TYPE_CHECKING, Any

import orjson
from jupyter_ollama_client.addresses import is_loopback

from .._version import __version__
from .encoding import LONG_BODY, encoded
from .failure import UpstreamFailure
from .failures import Failures
from .keys import key_of
from .reading import Chunks, Lines
from .spec import UpstreamSpec

if TYPE_CHECKING:
    import httpx2

HOPS = "X-Ollama-Hops"
"""The header with the number of servers that have passed a request on, see `api.hops`."""

_LONGEST_ERROR = 2**16


@dataclass(frozen=True)
class Waits:
    """The longest waits in seconds: for a connection, a first part, and the next part."""

    connect: float
    first: float
    pause: float


class Connection:
    """Sends requests to an upstream. Nothing is sent or imported before the first one."""

    def __init__(self, spec: UpstreamSpec, waits: Waits, max_line: int, max_bytes: int) -> None:
        self.spec = spec
        self.waits = waits
        self.failures = Failures(spec)
        self._max_line = max_line
        self._max_bytes = max_bytes
        self._http: httpx2.AsyncClient | None = None

    async def close(self) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.aclose()

    async def get(self, path: str, seconds: float, max_bytes: int) -> Any:
        """Return the JSON value of a GET. Raises UpstreamFailure."""
        try:
            async with (
                asyncio.timeout(seconds),
                self._answer("GET", path, None, 1, seconds) as response,
            ):
                body = await self._whole(response, None, max_bytes)
        except TimeoutError:
            raise self.failures.silent(seconds) from None
        return await self.decoded(body)

    async def post(
        self, path: str, body: Any, hops: int = 0, seconds: float = 0.0, max_bytes: int = 0
    ) -> Any:
        """Return the JSON value of a POST. Raises UpstreamFailure.

        ``seconds`` replace the wait for the first part, ``max_bytes`` the bound of the answer.
        """
        first = seconds or self.waits.first
        most = max_bytes or self._max_bytes
        async with self._answer("POST", path, await encoded(body), hops + 1, first) as response:
            return await self.decoded(await self._whole(response, first, most))

    @asynccontextmanager
    async def stream(self, path: str, body: Any, hops: int = 0) -> AsyncIterator[Lines]:
        """Yield the lines of a POST's answer. Leaving the block ends the upstream's work."""
        first = self.waits.first
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._answer("POST", path, await encoded(body), hops + 1, first) as response:
            chunks = Chunks(self.failures, response, first, self._max_bytes, began)
            yield Lines(self.failures, response, chunks, self.waits.pause, self._max_line)

    async def decoded(self, body: bytes | bytearray) -> Any:
        """Return a JSON value. Raises UpstreamFailure."""
        try:
            if len(body) > LONG_BODY:
                return await asyncio.to_thread(orjson.loads, body)
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            raise self.failures.nonsense("JSON that cannot be read") from None

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, content: bytes | None, hops: int, seconds: float
    ) -> AsyncIterator[httpx2.Response]:
        """Send a request and yield the answer, whose status is a success."""
        response = await self._sent(method, path, content, hops, seconds)
        try:
            if not response.is_success:
                raise await self._refusal(response)
            encoding = response.headers.get("content-encoding", "identity").strip().lower()
            if encoding not in ("", "identity"):
                raise self.failures.nonsense("compressed data, which was not asked for")
            yield response
        finally:
            await response.aclose()

    async def _sent(
        self, method: str, path: str, content: bytes | None, hops: int, seconds: float
    ) -> httpx2.Response:
        # The HTTP client takes long to import: not in the event loop.
        httpx = await asyncio.to_thread(import_module, "httpx2") if self._http is None else None
        http = self._http or self._open(httpx)
        httpx = import_module("httpx2")
        headers = {HOPS: str(hops), "Accept-Encoding": "identity"}
        if key := key_of(self.spec):
            headers["Authorization"] = f"Bearer {key}"
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            request = http.build_request(
                method, self.spec.url + path, headers=headers, content=content
            )
            async with asyncio.timeout(seconds):
                return await http.send(request, stream=True)
        except TimeoutError:
            raise self.failures.silent(seconds) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self.failures.unreachable(error) from None
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise self.failures.broken(error) from None

    def _open(self, httpx: Any) -> httpx2.AsyncClient:
        if self._http is None:
            secure = self.spec.url.startswith("https:")
            self._http = httpx.AsyncClient(
                headers={"User-Agent": f"jupyter-ollama/{__version__}", "Accept": "*/*"},
                # Redirects could lead the key and the texts to any host.
                follow_redirects=False,
                trust_env=not is_loopback(self.spec.url),
                verify=secure,
                timeout=httpx.Timeout(None, connect=self.waits.connect),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            )
            # Cookies of an answer would go with the requests of other users.
            self._http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        return self._http

    async def _whole(
        self, response: httpx2.Response, first: float | None, max_bytes: int
    ) -> bytearray:
        """Return the body. ``first`` seconds may pass before its first byte, None for any."""
        chunks = Chunks(self.failures, response, first, max_bytes)
        body = bytearray()
        while (chunk := await chunks.next()) is not None:
            body += chunk
            if first is not None:
                chunks.expect(self.waits.pause)
        return body

    async def _refusal(self, response: httpx2.Response) -> UpstreamFailure:
        """Return the failure that a status stands for."""
        if response.is_redirect:
            return self.failures.redirected()
        try:
            body = await self._whole(response, self.waits.connect, _LONGEST_ERROR)
        except UpstreamFailure:
            body = bytearray()
        return self.failures.refused(response.status_code, body)
