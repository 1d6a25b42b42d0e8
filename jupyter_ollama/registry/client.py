"""HTTP to one repository of a registry: redirects, sign-in, errors in Ollama's wording."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import platform
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import TypeVar

import httpx2
from jupyter_ollama_client.addresses import is_loopback
from jupyter_ollama_client.responses import reason

from .._version import OLLAMA_API_VERSION, __version__
from ..errors import OllamaError, one_line
from ..library.name import ModelName
from ..web.addresses import is_metadata
from .credentials import DENIED, Challenge, Credentials, host_of
from .redirects import RedirectClients
from .responses import Temporary, body_of, error_of, token_of
from .transfer_policy import TransferPolicy

log = logging.getLogger(__name__)

MAX_REDIRECTS = 10

LONG_WORK_SECONDS = 900.0
"""The timeout of requests for which a registry reads whole files."""

_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}

T = TypeVar("T")
Content = bytes | Callable[[], AsyncIterator[bytes]]


class Repository:
    """The requests for one model name, as an async context manager.

    ``mirrors`` maps hosts to the URLs of servers used in their place. ``allowed`` are non-public
    addresses to which a registry may redirect.
    """

    def __init__(
        self,
        name: ModelName,
        insecure: bool,
        mirrors: Mapping[str, str],
        credentials: Credentials,
        policy: TransferPolicy,
        allowed: Iterable[str] = (),
    ) -> None:
        scheme = "http" if insecure else name.scheme
        root = mirrors.get(name.host, f"{scheme}://{name.host}").rstrip("/")
        self.url = f"{root}/v2/{name.namespace}/{name.model}"
        self.policy = policy
        self._host = host_of(root)
        self._allowed = tuple(allowed)
        self._credentials = credentials
        self._authorization = ""
        self._signing_in = asyncio.Lock()

    async def __aenter__(self) -> Repository:
        if is_metadata(httpx2.URL(self.url).host):
            raise OllamaError(500, f"{self._host} is not a registry")
        tls = await asyncio.to_thread(_tls)
        use_proxies = not is_loopback(self.url)
        self._http = httpx2.AsyncClient(
            verify=tls,
            trust_env=use_proxies,
            timeout=httpx2.Timeout(self.policy.stall, pool=None),
            limits=httpx2.Limits(max_connections=None),
        )
        self._http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._redirect_clients = RedirectClients(self.url, self._allowed, tls, use_proxies)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._redirect_clients.close()
        await self._http.aclose()

    def located(self, response: httpx2.Response, location: str) -> str:
        """Return the URL to which an answer redirects. Raises OllamaError(500) if insecure."""
        try:
            target = httpx2.URL(_asked(response)).join(location)
        except httpx2.InvalidURL as error:
            raise OllamaError(500, f"faulty address of a registry: {error}") from error
        is_secure = self.url.startswith("https:") or _asked(response).startswith("https:")
        if target.scheme == "http" and is_secure:
            raise OllamaError(500, f"{self._host} redirects to an insecure address")
        if target.scheme not in ("http", "https") or not target.host:
            raise OllamaError(500, f"{self._host} redirects to no web address")
        return str(target)

    async def read(
        self,
        method: str,
        path: str,
        content: Content = b"",
        read_timeout: float | None = None,
        **headers: str,
    ) -> httpx2.Response:
        """Send a request and return its small answer; temporary failures are retried.

        Its ``extensions["content"]`` is the body. Raises OllamaError.
        """

        async def attempt() -> httpx2.Response:
            async with self.open(method, path, content, read_timeout, **headers) as response:
                response.extensions["content"] = await body_of(response)
                return response

        return await retried(attempt, self.policy.request_tries, self.policy)

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        content: Content = b"",
        read_timeout: float | None = None,
        **headers: str,
    ) -> AsyncIterator[httpx2.Response]:
        """Send one request, following redirects, and yield the answer before its body is read.

        ``path`` is below the repository, or a whole URL. ``read_timeout`` is the read timeout
        in seconds, if it differs from the policy. Raises OllamaError for a status of 400
        and above, Temporary also for a connection that breaks while the body is read.
        """
        url = path if "://" in path else self.url + path
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            response = await self._send(
                method, url, content, sent, read_timeout or self.policy.stall
            )
            try:
                if response.status_code >= 400:
                    raise await error_of(response, self._is_own(_asked(response)))
                yield response
            finally:
                await response.aclose()
        except httpx2.TransportError as error:
            raise Temporary(_failure(url, error)) from error
        except httpx2.InvalidURL as error:
            raise OllamaError(500, f"faulty address of a registry: {error}") from error

    async def _send(
        self,
        method: str,
        url: str,
        content: Content,
        headers: Mapping[str, str],
        read_timeout: float,
    ) -> httpx2.Response:
        signed_in = False
        redirects = 0
        while True:
            used = self._authorization
            body = content() if callable(content) else content or None
            timeout = httpx2.Timeout(self.policy.stall, read=read_timeout, pool=None)
            sent = {"User-Agent": user_agent(), "Accept-Encoding": "identity", **headers}
            if self._is_own(url):
                own = {"Authorization": used} if used else {}
                request = self._http.build_request(
                    method, url, headers=sent | own, content=body, timeout=timeout
                )
                response = await self._http.send(request, stream=True)
            else:
                response = await self._redirect_clients.send(
                    method, url, sent, content=body, timeout=timeout
                )
            response.extensions["asked"] = url
            if response.status_code == 401 and self._is_own(url) and not signed_in:
                signed_in = True
                await response.aclose()
                await self._sign_in(used, response.headers.get("WWW-Authenticate", ""))
            elif response.has_redirect_location and method in ("GET", "HEAD"):
                await response.aclose()
                url = self.located(response, response.headers["Location"])
                redirects += 1
                if redirects > MAX_REDIRECTS:
                    raise OllamaError(500, "maximum redirects exceeded (10) for directURL")
            else:
                return response

    def _is_own(self, url: str) -> bool:
        """Return whether a URL is one of the registry itself, which alone may see credentials."""
        same_scheme = url.partition("://")[0] == self.url.partition("://")[0]
        return same_scheme and host_of(url) == self._host

    async def _sign_in(self, used: str, header: str) -> None:
        """Obtain the Authorization header that the registry requires."""
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
            realm = host_of(challenge.realm)
            message = f'realm host "{realm}" does not match original host "{self._host}"'
            raise OllamaError(500, message)
        url = str(httpx2.URL(challenge.token_url()))
        proof = basic or await asyncio.to_thread(self._credentials.signature, "GET", url)
        response = await self._http.send(
            self._http.build_request(
                "GET", url, headers={"User-Agent": user_agent(), "Authorization": proof}
            ),
            stream=True,
        )
        try:
            if response.status_code >= 400:
                raise await error_of(response, is_own=True)
            return f"Bearer {token_of(await body_of(response))}"
        finally:
            await response.aclose()


Open = Callable[[], Repository]
"""Makes a client of a repository."""


async def retried(attempt: Callable[[], Awaitable[T]], tries: int, policy: TransferPolicy) -> T:
    """Return the result of an attempt, retrying temporary failures. Raises OllamaError."""
    for failures in range(1, tries):
        try:
            return await attempt()
        except Temporary as error:
            await asyncio.sleep(max(policy.wait(failures), error.after))
    return await attempt()


def user_agent() -> str:
    """Return the User-Agent header."""
    machine = _MACHINES.get(platform.machine(), platform.machine())
    system = platform.system().lower()
    return f"ollama/{OLLAMA_API_VERSION} ({machine} {system}) jupyter-ollama/{__version__}"


def _asked(response: httpx2.Response) -> str:
    """Return the requested URL, with the name of its host rather than an address."""
    url: str = response.extensions["asked"]
    return url


def _failure(url: str, error: httpx2.TransportError) -> str:
    """Return the message for a connection that could not be made, or that broke."""
    refused_certificate = "SSL" in str(error)
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout) and not refused_certificate:
        log.info("%s cannot be reached: %s", one_line(host_of(url)), one_line(error))
        return f"{host_of(url)}: no connection to the registry (offline?)"
    return f"{host_of(url)}: {reason(error)}"


@functools.cache
def _tls() -> ssl.SSLContext:
    # Reading the certificates of the system is slow.
    context: ssl.SSLContext = httpx2.create_ssl_context()
    return context
