"""Pages and searches of servers on loopback; other hosts are refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest
from api_client import Fetch, error
from tornado import web
from tornado.httpserver import HTTPServer
from traitlets import TraitError

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.web.fetch import Fetch as Fetching
from jupyter_ollama.web.guard import Guard

PAGE = """<html><head><title>Of
 Foxes</title></head><body><nav><a href="/other">Other</a> <a href="mailto:a@b.c">Mail</a></nav>
<article><h1>The fox</h1><p>The quick brown fox jumps over the lazy dog, and it does so again and
again, since nobody has told it to stop.</p><ul><li>quick</li><li>brown</li></ul>
<p>Caf\u00e9s are <a href="https://example.org/x">elsewhere</a>.</p></article></body></html>"""


class Site(web.RequestHandler):
    """Serves the content that its path names, and records its requests."""

    asked: list[str] = []

    async def get(self, name: str) -> None:
        self.asked.append(f"{self.request.host} {self.request.uri}")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        if name == "page":
            self.write(PAGE)
        elif name == "latin":
            self.set_header("Content-Type", "text/html; charset=iso-8859-1")
            self.write(PAGE.encode("latin-1"))
        elif name == "plain":
            self.set_header("Content-Type", "text/plain")
            self.write("just text")
        elif name == "picture":
            self.set_header("Content-Type", "image/png")
        elif name == "packed":
            self.set_header("Content-Encoding", "gzip")
        elif name == "large":
            self.write(b"x" * (4 * 2**20 + 1))
        elif name == "slow":
            await asyncio.sleep(30)
        elif name == "to":
            self.redirect(self.get_argument("url"))
        elif name == "search":
            results = [{"title": f"T{i}", "url": f"u{i}", "content": None} for i in range(20)]
            query, form = self.get_argument("q"), self.get_argument("format")
            results[0]["content"] = f"{query} {form}"
            self.write({"query": query, "results": results})
        else:
            raise web.HTTPError(404)


@pytest.fixture
def site(jp_asyncio_loop: Any) -> Iterator[int]:
    """The port of a server that listens on 127.0.0.1 and on 127.0.0.2."""
    Site.asked.clear()
    app = web.Application([("/(.*)", Site)], log_function=lambda handler: None)

    async def start() -> tuple[HTTPServer, int]:
        server = HTTPServer(app)
        server.listen(0, "127.0.0.1")
        port = next(iter(server._sockets.values())).getsockname()[1]
        server.listen(port, "127.0.0.2")
        return server, port

    server, port = jp_asyncio_loop.run_until_complete(start())
    yield port
    server.stop()
    jp_asyncio_loop.run_until_complete(server.close_all_connections())


@pytest.fixture
def ollama_server(models_dir: Path) -> OllamaServer:
    return OllamaServer(
        models_dir=str(models_dir), web_fetch=True, web_allowed_addresses=["127.0.0.1"]
    )


async def get(fetch: Fetch, url: str) -> Any:
    return await fetch("POST", "/api/web_fetch", {"url": url})


async def test_off_by_default(jupyter: Fetch) -> None:
    for path in ("/api", "/api/experimental"):
        answer = await jupyter("POST", f"{path}/web_fetch", {"url": "http://127.0.0.1/"})
        assert answer.code == 501
        assert error(answer) == "web fetch is not configured: see OllamaServer.web_fetch"
        answer = await jupyter("POST", f"{path}/web_search", {"query": "foxes"})
        assert answer.code == 501
        assert error(answer) == "web search is not configured: see OllamaServer.web_search_url"


@pytest.mark.parametrize("name", ["page", "latin"])
async def test_a_page_becomes_text(standalone: Fetch, site: int, name: str) -> None:
    url = f"http://127.0.0.1:{site}"
    answer = await standalone("POST", "/api/experimental/web_fetch", {"url": f"{url}/{name}"})
    body = json.loads(answer.body)
    assert (answer.code, list(body)) == (200, ["title", "content", "links"])
    page = ollama.WebFetchResponse(**body)
    assert page.title == "Of Foxes"
    assert page.links == [f"{url}/other", "https://example.org/x"]
    assert "The quick brown fox jumps over the lazy dog" in page.content
    assert "- quick" in page.content
    assert "Caf\u00e9s are" in page.content
    assert "<" not in page.content


async def test_other_texts_stay_as_they_are(standalone: Fetch, site: int) -> None:
    body = json.loads((await get(standalone, f"http://127.0.0.1:{site}/plain")).body)
    assert body == {"title": "", "content": "just text", "links": []}


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("missing", 502, "answers with status 404"),
        ("picture", 502, "is not text but image/png"),
        ("packed", 502, "is packed"),
        ("large", 502, "is larger than 4 MiB"),
        ("to?url=/to%3Furl=/page", 200, ""),
        ("to?url=file:///etc/passwd", 400, "must begin with http:// or https://"),
        ("to?url=http://127.0.0.2:PORT/page", 403, "127.0.0.2 has an address that is not public"),
        ("to?url=http://169.254.169.254/latest", 403, "not public"),
    ],
)
async def test_content_that_is_not_a_page(
    standalone: Fetch, site: int, path: str, status: int, text: str
) -> None:
    url = f"http://127.0.0.1:{site}/{path}".replace("PORT", str(site))
    answer = await get(standalone, url)
    assert answer.code == status
    assert status == 200 or text in error(answer)
    assert not any("127.0.0.2" in asked.split()[0] for asked in Site.asked)


async def test_redirects_end(standalone: Fetch, site: int) -> None:
    path = f"http://127.0.0.1:{site}/page"
    for _ in range(7):
        path = f"http://127.0.0.1:{site}/to?url={path.replace('%', '%25').replace('?', '%3F')}"
    answer = await get(standalone, path)
    assert (answer.code, error(answer)) == (502, "more than 5 redirects")
    assert len(Site.asked) == 6


@pytest.mark.parametrize(
    "host", ["127.0.0.2", "127.2", "2130706434", "[::ffff:127.0.0.2]", "[::1]", "0.0.0.0"]
)
async def test_private_hosts_are_not_asked(standalone: Fetch, site: int, host: str) -> None:
    answer = await get(standalone, f"http://{host}:{site}/page")
    assert answer.code == 403
    assert "not public" in error(answer)
    assert Site.asked == []


@pytest.mark.parametrize(
    ("url", "status"),
    [("", 400), ("ftp://a/b", 400), ("http://u:p@127.0.0.1/", 400), ("http://", 400), ("a b", 400)],
)
async def test_invalid_urls(standalone: Fetch, url: str, status: int) -> None:
    assert (await get(standalone, url)).code == status


async def test_the_address_that_was_checked_is_the_one_that_is_asked(site: int) -> None:
    class Pages(Guard):
        async def resolve(self, host: str, port: int) -> str:
            assert (host, port) == ("pages.invalid", site)
            return "127.0.0.1"

    settings = OllamaServer(web_fetch=True)
    counted: list[int] = []
    fetch = Fetching(Pages([]), settings, settings.pages.readers.read, counted.append)
    page = await fetch.page(f"http://pages.invalid:{site}/plain?a=b")
    assert page["content"] == "just text"
    assert sum(counted) == len("just text")
    assert Site.asked == [f"pages.invalid:{site} /plain?a=b"]
    fetch = Fetching(Guard([]), settings, settings.pages.readers.read, counted.append)
    with pytest.raises(OllamaError, match="cannot find the address") as caught:
        await fetch.page(f"http://pages.invalid:{site}/plain")
    assert caught.value.status == 502


async def test_a_page_that_takes_too_long(
    standalone: Fetch, site: int, ollama_server: OllamaServer
) -> None:
    ollama_server.web_timeout = 0.2
    answer = await get(standalone, f"http://127.0.0.1:{site}/slow")
    assert answer.code == 504
    assert "takes longer than" in error(answer)


async def test_no_proxy_is_asked(
    standalone: Fetch, site: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert (await get(standalone, f"http://127.0.0.1:{site}/plain")).code == 200


def test_networks_are_checked_when_they_are_set() -> None:
    with pytest.raises(TraitError, match="web_allowed_addresses"):
        OllamaServer(web_allowed_addresses=["localhost"])


async def test_a_search(standalone: Fetch, site: int, ollama_server: OllamaServer) -> None:
    ollama_server.web_search_url = f"http://127.0.0.1:{site}/search"

    async def search(**fields: Any) -> list[Any]:
        answer = await standalone("POST", "/api/web_search", {"query": "red fox"} | fields)
        return ollama.WebSearchResponse(**json.loads(answer.body)).results

    first, *others = await search()
    assert (first.title, first.url, first.content) == ("T0", "u0", "red fox json")
    assert [result.content for result in others] == [""] * 4
    assert len(await search(max_results=3)) == 3
    assert len(await search(max_results=50)) == 10
    empty = await standalone("POST", "/api/web_search", {"query": ""})
    assert (empty.code, error(empty)) == (400, "query is required")


@pytest.mark.parametrize(
    ("path", "text"),
    [("page", "does not answer as SearXNG"), ("missing", "answers with status 404")],
)
async def test_an_address_without_a_search_server(
    standalone: Fetch, site: int, ollama_server: OllamaServer, path: str, text: str
) -> None:
    ollama_server.web_search_url = f"http://127.0.0.1:{site}/{path}"
    answer = await standalone("POST", "/api/web_search", {"query": "foxes"})
    assert answer.code == 502
    assert text in error(answer)
