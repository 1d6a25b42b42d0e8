"""Fetching of one page, within bounds of time, size and addresses, and its text."""

from __future__ import annotations

import asyncio
import codecs
import functools
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import httpx2

from .._version import __version__
from ..errors import OllamaError
from .guard import Guard

if TYPE_CHECKING:
    from .settings import WebSettings

MAX_URL = 8000
"""The most characters of a URL: longer ones are refused by most servers, too."""

_SLOW = ("idna", "punycode")
"""Encodings of names of hosts, which take time by the square of a text's length."""

_HTML = ("text/html", "application/xhtml+xml")
_HEADERS = {
    "User-Agent": f"jupyter-ollama/{__version__}",
    "Accept": "text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.8",
    # Compressed content may be small and expand without end.
    "Accept-Encoding": "identity",
}

Read = Callable[[bytes, str, str], Awaitable[dict[str, Any]]]
"""Makes title, content and links of the bytes, the URL and the charset of a page."""


class Fetch:
    """Fetches one page. ``count`` is called with the number of bytes of each piece."""

    def __init__(
        self, guard: Guard, settings: WebSettings, read: Read, count: Callable[[int], object]
    ) -> None:
        self._guard = guard
        self._settings = settings
        self._read_html = read
        self._count = count

    async def page(self, url: str) -> dict[str, Any]:
        """Return the title, the content as Markdown, and the links of a page.

        Raises OllamaError: 400 for an invalid URL, 403 for an address or a port that is not
        allowed, 502 for a page that cannot be fetched, 504 for one that takes too long.
        """
        seconds = self._settings.web_timeout
        if len(url) > MAX_URL:
            raise OllamaError(400, f"url has more than {MAX_URL} characters")
        try:
            async with asyncio.timeout(seconds):
                return await self._follow(httpx2.URL(url))
        except TimeoutError:
            raise OllamaError(504, f"{url} takes longer than {seconds:g} s") from None
        except httpx2.InvalidURL as error:
            raise OllamaError(400, f"invalid url: {error}") from None
        except httpx2.HTTPError as error:
            raise OllamaError(502, f"cannot fetch {url}: {error or type(error).__name__}") from None

    async def _follow(self, url: httpx2.URL) -> dict[str, Any]:
        client = httpx2.AsyncClient(
            # No proxy of the environment: the guard would see its address alone.
            trust_env=False,
            follow_redirects=False,
            timeout=None,
            verify=await asyncio.to_thread(_tls),
            # Two hosts may share an address: a connection made for one is not used for the other.
            limits=httpx2.Limits(max_keepalive_connections=0),
        )
        most = self._settings.web_max_redirects
        async with client:
            for _ in range(most + 1):
                request = await self._request(client, url)
                response = await client.send(request, stream=True)
                try:
                    if not response.has_redirect_location:
                        return await self._read(url, response)
                finally:
                    await response.aclose()
                url = url.join(response.headers["Location"])
        raise OllamaError(502, f"more than {most} redirects")

    async def _request(self, client: httpx2.AsyncClient, url: httpx2.URL) -> httpx2.Request:
        """Return a request to the checked address, not to a later one of its name."""
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise OllamaError(400, "url must begin with http:// or https:// and have no password")
        port = {"http": 80, "https": 443}[url.scheme] if url.port is None else url.port
        host = url.raw_host.decode("ascii")
        address = await self._guard.resolve(host, port)
        return client.build_request(
            "GET",
            url.copy_with(host=address, fragment=None),
            headers=_HEADERS | {"Host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": host},
        )

    async def _read(self, url: httpx2.URL, response: httpx2.Response) -> dict[str, Any]:
        if response.status_code != 200:
            raise OllamaError(502, f"{url} answers with status {response.status_code}")
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise OllamaError(502, f"{url} is packed though that was not asked for")
        kind = response.headers.get("Content-Type", "text/html").partition(";")[0].strip().lower()
        if kind not in _HTML and not kind.startswith("text/") and kind != "application/json":
            raise OllamaError(502, f"{url} is not text but {kind}")
        most = self._settings.web_max_bytes
        body = bytearray()
        async for chunk in response.aiter_raw():
            self._count(len(chunk))
            body += chunk
            if len(body) > most:
                raise OllamaError(502, f"{url} is larger than {most / 2**20:g} MiB")
        charset = text_encoding(response.charset_encoding or "")
        if kind in _HTML:
            return await self._read_html(bytes(body), str(url), charset)
        text = await asyncio.to_thread(body.decode, charset or "utf-8", "replace")
        return {"title": "", "content": text, "links": []}


def text_encoding(charset: str) -> str:
    """Return Python's name of a charset that pages may name, "" for an unknown one."""
    try:
        name = codecs.lookup(charset).name if charset else ""
        b"x".decode(name or "utf-8", "replace")
    except (LookupError, ValueError):  # unknown, or no encoding of text
        return ""
    return "" if name in _SLOW else name


@functools.cache
def _tls() -> ssl.SSLContext:
    # Reading the certificates of the system takes long.
    context: ssl.SSLContext = httpx2.create_ssl_context()
    return context
