"""One page of the web: asked for with care, at most so long and so large, and made text."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx2
import orjson

from .._version import __version__
from ..errors import OllamaError
from .guard import Guard

SECONDS = 30.0
"""How long a page may take, from the first name looked up to the last of its text."""

MAX_BYTES = 4 * 2**20
MAX_REDIRECTS = 5

_HTML = ("text/html", "application/xhtml+xml")
_HEADERS = {
    "User-Agent": f"jupyter-ollama/{__version__}",
    "Accept": "text/html, application/xhtml+xml, text/*;q=0.9, application/json;q=0.8",
    # What is packed may be small and its content endless.
    "Accept-Encoding": "identity",
}


async def fetch(url: str, guard: Guard) -> dict[str, Any]:
    """Return the title, the content as Markdown, and the links of a page.

    Raises OllamaError: 400 for what is no URL, 403 for an address that is not allowed, 502 for a
    page that cannot be had, 504 for one that takes too long.
    """
    try:
        async with asyncio.timeout(SECONDS):
            return await _fetch(httpx2.URL(url), guard)
    except TimeoutError:
        raise OllamaError(504, f"{url} takes longer than {SECONDS:.0f} s") from None
    except httpx2.InvalidURL as error:
        raise OllamaError(400, f"invalid url: {error}") from None
    except httpx2.HTTPError as error:
        raise OllamaError(502, f"cannot fetch {url}: {error or type(error).__name__}") from None


async def _fetch(url: httpx2.URL, guard: Guard) -> dict[str, Any]:
    # No proxy of the environment: the guard would see its address alone.
    client = httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=None)
    async with client:
        for _ in range(MAX_REDIRECTS + 1):
            request = await _request(client, url, guard)
            response = await client.send(request, stream=True)
            try:
                if not response.has_redirect_location:
                    return await _read(url, response)
            finally:
                await response.aclose()
            url = url.join(response.headers["Location"])
    raise OllamaError(502, f"more than {MAX_REDIRECTS} redirects")


async def _request(client: httpx2.AsyncClient, url: httpx2.URL, guard: Guard) -> httpx2.Request:
    """Return a request that goes to an address the guard has seen, whatever the name means next."""
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        raise OllamaError(400, "url must begin with http:// or https:// and have no password")
    port = url.port or (443 if url.scheme == "https" else 80)
    address = await guard.resolve(url.host, port)
    return client.build_request(
        "GET",
        url.copy_with(host=address),
        headers=_HEADERS | {"Host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
    )


async def _read(url: httpx2.URL, response: httpx2.Response) -> dict[str, Any]:
    if response.status_code != 200:
        raise OllamaError(502, f"{url} answers with status {response.status_code}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise OllamaError(502, f"{url} is packed though that was not asked for")
    kind = response.headers.get("Content-Type", "text/html").partition(";")[0].strip().lower()
    if kind not in _HTML and not kind.startswith("text/") and kind != "application/json":
        raise OllamaError(502, f"{url} is no text but {kind}")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise OllamaError(502, f"{url} is larger than {MAX_BYTES // 2**20} MiB")
    if kind in _HTML:
        return await _extract(bytes(body), str(url), response.charset_encoding or "")
    text = body.decode(response.charset_encoding or "utf-8", "replace")
    return {"title": "", "content": text, "links": []}


async def _extract(html: bytes, url: str, charset: str) -> dict[str, Any]:
    """Read a page in a process of its own, which can be ended whatever the page does to it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "jupyter_ollama.web.text", url, charset),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        told, _ = await process.communicate(html)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise OllamaError(502, f"{url} cannot be read")
    page: dict[str, Any] = orjson.loads(told)
    return page
