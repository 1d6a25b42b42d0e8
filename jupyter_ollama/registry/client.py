"""HTTP to one repository of a registry: redirects, sign-in, errors in Ollama's words."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import platform
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec
from jupyter_ollama_magics.client import is_loopback

from .._version import OLLAMA_API_VERSION, __version__
from ..errors import OllamaError
from ..library.name import ModelName
from .credentials import DENIED, Challenge, Credentials
from .pace import Pace

MAX_REDIRECTS = 10
MAX_MANIFEST = 4 * 2**20
"""The most bytes of an answer that is read into memory; manifests are far smaller."""

LONG_WORK_SECONDS = 900.0
"""How long a registry may take for what it has to read whole files for."""

_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
_MAX_ERROR_TEXT = 1000
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}

T = TypeVar("T")
Content = bytes | Callable[[], AsyncIterator[bytes]]


class Temporary(OllamaError):
    """A failure that a later try may not meet. ``after`` is what the registry asks to wait."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(500, message)
        self.after = after


class Refused(OllamaError):
    """The registry does not take what was sent."""


class Missing(OllamaError):
    """What was asked for is not there."""

    def __init__(self) -> None:
        super().__init__(500, "file does not exist")


class Repository:
    """The requests about one model name. Use it as an async context manager.

    ``mirrors`` maps hosts to the URLs of the servers that are asked in their place.
    """

    def __init__(
        self,
        name: ModelName,
        insecure: bool,
        mirrors: Mapping[str, str],
        credentials: Credentials,
        pace: Pace,
    ) -> None:
        scheme = "http" if insecure else name.scheme
        root = mirrors.get(name.host, f"{scheme}://{name.host}").rstrip("/")
        self.url = f"{root}/v2/{name.namespace}/{name.model}"
        self.pace = pace
        self._host = _host(root)
        self._credentials = credentials
        self._authorization = ""
        self._signing_in = asyncio.Lock()

    async def __aenter__(self) -> Repository:
        self._http = httpx2.AsyncClient(
            headers={"User-Agent": user_agent(), "Accept-Encoding": "identity"},
            verify=await asyncio.to_thread(_tls),
            trust_env=not is_loopback(self.url),
            timeout=httpx2.Timeout(self.pace.stall, pool=None),
            limits=httpx2.Limits(max_connections=None),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def read(
        self,
        method: str,
        path: str,
        content: Content = b"",
        patience: float | None = None,
        **headers: str,
    ) -> httpx2.Response:
        """Send a request with a small answer and return that; tried again where it may help.

        Its ``extensions["content"]`` is the body. Raises OllamaError.
        """

        async def attempt() -> httpx2.Response:
            async with self.open(method, path, content, patience, **headers) as response:
                response.extensions["content"] = await _read(response)
                return response

        return await retried(attempt, self.pace.request_tries, self.pace)

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        content: Content = b"",
        patience: float | None = None,
        **headers: str,
    ) -> AsyncIterator[httpx2.Response]:
        """Send one request, redirects followed, and yield the answer before its body is read.

        ``path`` is below the repository, or a whole URL. ``patience`` is how many seconds the
        registry may say nothing, if that is more than usual. Raises OllamaError for a status of 400
        and above, Temporary also for a connection that fails while the body is read.
        """
        url = path if "://" in path else self.url + path
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            response = await self._send(method, url, content, sent, patience or self.pace.stall)
            try:
                if response.status_code >= 400:
                    await self._refuse(response)
                yield response
            finally:
                await response.aclose()
        except httpx2.TransportError as error:
            raise Temporary(f"{_host(url)}: {str(error) or type(error).__name__}") from error
        except httpx2.InvalidURL as error:
            raise OllamaError(500, f"faulty address of a registry: {error}") from error

    async def _send(
        self, method: str, url: str, content: Content, headers: Mapping[str, str], patience: float
    ) -> httpx2.Response:
        signed_in = False
        redirects = 0
        while True:
            used = self._authorization
            own = {"Authorization": used} if used and self._is_own(url) else {}
            body = content() if callable(content) else content or None
            request = self._http.build_request(
                method,
                url,
                content=body,
                headers={**headers, **own},
                timeout=httpx2.Timeout(self.pace.stall, read=patience, pool=None),
            )
            response = await self._http.send(request, stream=True)
            if response.status_code == 401 and self._is_own(url) and not signed_in:
                signed_in = True
                await response.aclose()
                await self._sign_in(used, response.headers.get("WWW-Authenticate", ""))
            elif response.has_redirect_location and method in ("GET", "HEAD"):
                await response.aclose()
                url = self._target(response)
                redirects += 1
                if redirects > MAX_REDIRECTS:
                    raise OllamaError(500, "maximum redirects exceeded (10) for directURL")
            else:
                return response

    def _is_own(self, url: str) -> bool:
        """Tell whether a URL is one of the registry itself, which alone may see credentials."""
        same_scheme = url.partition("://")[0] == self.url.partition("://")[0]
        return same_scheme and _host(url) == self._host

    def _target(self, response: httpx2.Response) -> str:
        target = response.url.join(response.headers["Location"])
        if target.scheme != "https" and self.url.startswith("https:"):
            raise OllamaError(500, f"{self._host} redirects to an insecure address")
        if target.scheme not in ("http", "https"):
            raise OllamaError(500, f"{self._host} redirects to no web address")
        return str(target)

    async def _refuse(self, response: httpx2.Response) -> NoReturn:
        """Raise the error of an answer."""
        status = response.status_code
        if status == 404:
            raise Missing
        if status == 401:
            raise OllamaError(500, DENIED)
        # What another host says, to which a registry sent us, may not be for the user's eyes.
        text = await _read(response) if self._is_own(str(response.url)) else b""
        message = f"{status}: {text[:_MAX_ERROR_TEXT].decode(errors='replace').strip()}"
        if status in _TEMPORARY:
            raise Temporary(message, _retry_after(response))
        raise Refused(500, message)

    async def _sign_in(self, used: str, header: str) -> None:
        """Get the Authorization header that the registry asks for."""
        async with self._signing_in:
            if self._authorization == used:  # else another request has just signed in
                self._authorization = await self._answer(Challenge.parse(header))

    async def _answer(self, challenge: Challenge) -> str:
        basic = self._credentials.basic(self._host)
        if challenge.scheme == "basic" and basic:
            return basic
        if challenge.scheme != "bearer":
            raise OllamaError(500, DENIED)
        if not self._is_own(challenge.realm):
            realm = _host(challenge.realm)
            message = f'realm host "{realm}" does not match original host "{self._host}"'
            raise OllamaError(500, message)
        url = str(httpx2.URL(challenge.token_url()))
        proof = basic or await asyncio.to_thread(self._credentials.signature, "GET", url)
        response = await self._http.send(
            self._http.build_request("GET", url, headers={"Authorization": proof}), stream=True
        )
        try:
            if response.status_code >= 400:
                await self._refuse(response)
            return f"Bearer {_token(await _read(response))}"
        finally:
            await response.aclose()


Open = Callable[[], Repository]
"""Makes a client of a repository, for as long as something asks it."""


async def retried(attempt: Callable[[], Awaitable[T]], tries: int, pace: Pace) -> T:
    """Return what an attempt returns, the last of ``tries`` at most. Raises OllamaError."""
    for failures in range(1, tries):
        try:
            return await attempt()
        except Temporary as error:
            await asyncio.sleep(max(pace.wait(failures), error.after))
    return await attempt()


def user_agent() -> str:
    """Return what we call ourselves."""
    machine = _MACHINES.get(platform.machine(), platform.machine())
    system = platform.system().lower()
    return f"ollama/{OLLAMA_API_VERSION} ({machine} {system}) jupyter-ollama/{__version__}"


def _host(url: str) -> str:
    """Return host and port of a URL, without a login that may stand before them."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:  # the URL comes from a registry
        return ""


@functools.cache
def _tls() -> ssl.SSLContext:
    # Reading the certificates of the system takes long.
    return httpx2.create_ssl_context()


async def _read(response: httpx2.Response) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > MAX_MANIFEST:
            raise OllamaError(500, f"the registry's answer has more than {MAX_MANIFEST} bytes")
    return bytes(data)


def _token(body: bytes) -> str:
    try:
        answer: Any = msgspec.json.decode(body)
    except msgspec.DecodeError:
        answer = None
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else ""
    if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
        raise OllamaError(500, DENIED)
    return token


def _retry_after(response: httpx2.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), 60.0) if text.isdecimal() else 0.0
