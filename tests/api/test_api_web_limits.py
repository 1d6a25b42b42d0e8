"""The limits of users' fetches, and the processes that read pages."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from api_client import error, wait_until
from shared_server import Shared, sharing

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.web import text
from jupyter_ollama.web.readers import Readers
from jupyter_ollama.web.settings import WebSettings

PAGE = b"<html><head><title>T</title></head><body><article><p>Some words to read.</p></article>"
Children = Callable[[], list[psutil.Process]]


class Site:
    """A server that sends the bytes that a test sets."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers: list[bytes] = []
        self.held = asyncio.Event()
        self.held.set()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            await self.held.wait()
            for part in self.answers:
                writer.write(part)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def http(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/html", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def fetching(**traits: Any) -> AsyncIterator[tuple[Shared, Site]]:
    """Run a server whose users fetch pages of a site."""
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        async with sharing(web_fetch=True, web_allowed_addresses=["127.0.0.1"], **traits) as shared:
            yield shared, site
    finally:
        site.held.set()
        server.close()


async def get(shared: Shared, site: Site, user: str = "ann") -> Any:
    return await shared.user(user)("POST", "/api/web_fetch", {"url": site.url})


async def test_requests_a_minute(tmp_path: Any) -> None:
    async with fetching(web_requests_per_minute=2) as (shared, site):
        site.answers = [http(b"x", "X: y").replace(b"text/html", b"text/plain")]
        assert [(await get(shared, site)).code for _ in range(3)] == [200, 200, 429]
        refused = await get(shared, site)
        assert error(refused) == "the limit of 2 fetches a minute is reached"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert (await get(shared, site, "bob")).code == 200
        assert site.asked == 3
        shared.server.web_search_url = site.url
        search = await shared.user("ann")("POST", "/api/web_search", {"query": "x"})
        assert search.code == 429


async def test_fetches_at_once() -> None:
    async with fetching(web_concurrent=2) as (shared, site):
        site.answers = [http(b"x").replace(b"text/html", b"text/plain")]
        site.held.clear()
        tasks = [asyncio.create_task(get(shared, site)) for _ in range(2)]
        await wait_until(lambda: site.asked == 2)
        refused = await get(shared, site)
        assert refused.code == 429
        assert error(refused) == "2 of your fetches are under way, the limit is 2"
        other = asyncio.create_task(get(shared, site, "bob"))
        await wait_until(lambda: site.asked == 3)
        site.held.set()
        assert [(await task).code for task in (*tasks, other)] == [200, 200, 200]
        assert (await get(shared, site)).code == 200


async def test_bytes_a_day_count_pages_that_are_refused_too() -> None:
    async with fetching(web_bytes_per_day=2500, web_max_bytes=2000) as (shared, site):
        site.answers = [http(b"x" * 3000).replace(b"text/html", b"text/plain")]
        assert (await get(shared, site)).code == 502
        refused = await get(shared, site)
        assert (refused.code, site.asked) == (429, 1)
        assert error(refused) == "the limit of 2500 bytes of pages a day is reached"
        assert int(refused.headers["Retry-After"]) > 80000


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([http(PAGE, "Content-Encoding: gzip")], "is packed"),
        ([http(PAGE, "Content-Encoding: identity, br")], "is packed"),
        ([http(PAGE, f"X: {'y' * 200_000}")], "cannot fetch"),
        ([http(PAGE, *(f"X{n}: {'y' * 1000}" for n in range(200)))], "cannot fetch"),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 3000],
            "larger",
        ),
        ([b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 50, http(b"")[:20]], "cannot fetch"),
        ([b"\0" * 1000], "cannot fetch"),
        ([], "cannot fetch"),
    ],
)
async def test_answers_that_are_meant_to_do_harm(answers: list[bytes], text: str) -> None:
    async with fetching(web_max_bytes=2000) as (shared, site):
        site.answers = answers
        answer = await get(shared, site)
        assert answer.code == 502
        assert text in error(answer)


async def test_a_site_that_sends_drop_by_drop_is_given_up() -> None:
    async with fetching(web_timeout=0.5) as (shared, site):
        drops = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with_drops = asyncio.timeout(20)
            async with with_drops:
                while not writer.is_closing():
                    writer.write(b"x")
                    await asyncio.sleep(0.02)
            drops.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert (await get(shared, site)).code == 504
        assert shared.server.pages.allowance.account("ann").running == 0
        server.close()


async def test_one_process_reads_page_after_page_and_is_replaced(children: Children) -> None:
    async with fetching(web_reader_pages=3) as (shared, site):
        site.answers = [http(PAGE)]
        pids = []
        for _ in range(5):
            answer = await get(shared, site)
            assert json.loads(answer.body)["title"] == "T"
            pids.append([child.pid for child in children()])
        first, second = pids[0], pids[3]
        assert pids[:2] == [first, first]
        assert len(first) == len(second) == 1
        assert first != second == pids[4]
    assert children() == []


async def test_an_idle_process_ends(children: Children) -> None:
    async with fetching(web_reader_idle=0.05) as (shared, site):
        site.answers = [http(PAGE)]
        assert (await get(shared, site)).code == 200
        await asyncio.wait_for(wait_until(lambda: children() == []), 30)
        assert (await get(shared, site)).code == 200


async def test_a_process_that_has_died_is_replaced(children: Children) -> None:
    async with fetching() as (shared, site):
        site.answers = [http(PAGE)]
        assert (await get(shared, site)).code == 200
        (child,) = children()
        child.kill()
        await asyncio.wait_for(wait_until(lambda: children() == []), 30)
        assert (await get(shared, site)).code == 200


async def test_the_number_of_processes_is_bounded(children: Children) -> None:
    async with fetching(web_readers=1) as (shared, site):
        site.answers = [http(PAGE)]
        answers = await asyncio.gather(*(get(shared, site, f"user{n}") for n in range(5)))
        assert {answer.code for answer in answers} == {200}
        assert len(children()) == 1


async def test_a_page_that_is_not_read_in_time_ends_its_process(children: Children) -> None:
    readers = Readers(WebSettings(web_reader_seconds=0.2))
    reader = await readers._take()
    psutil.Process(reader.pid).suspend()
    readers._idle.append(reader)
    with pytest.raises(OllamaError, match="takes longer than") as caught:
        await readers.read(PAGE, "http://a/", "")
    assert caught.value.status == 504
    await readers.close()
    assert children() == []


async def test_a_page_that_needs_too_much_memory_ends_its_process_only(children: Children) -> None:
    paragraphs = (f"<p>{'Words and words. ' * 4}{number}</p>" for number in range(20_000))
    page = PAGE + "".join(paragraphs).encode()
    readers = Readers(WebSettings())
    assert "19999" in (await readers.read(page, "http://a/", ""))["content"]
    await readers.close()
    readers = Readers(WebSettings(web_reader_memory=80 * 2**20))
    with pytest.raises(OllamaError, match="cannot be read") as caught:
        await readers.read(page, "http://a/", "")
    assert caught.value.status == 502
    assert (await readers.read(PAGE, "http://a/", ""))["title"] == "T"
    await readers.close()
    assert children() == []


async def test_readers_get_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    monkeypatch.setenv("OLLAMA_API_KEY", "secret")
    readers = Readers(WebSettings())
    reader = await readers._take()
    assert "secret" not in psutil.Process(reader.pid).environ().values()
    assert psutil.Process(reader.pid).environ()["PATH"] == os.environ["PATH"]
    await reader.end()


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "hex", "unicode_escape", "nobody", "utf-7"]
)
async def test_charsets_that_pages_should_not_name(charset: str) -> None:
    async with fetching() as (shared, site):
        plain = http(b"x-" * 500_000).replace(b"text/html", b"text/plain; charset=%b")
        site.answers = [plain.replace(b"%b", charset.encode())]
        answer = await asyncio.wait_for(get(shared, site), 20)
        assert answer.code == 200


def test_invalid_links_are_left_out() -> None:
    long = "/" + "x" * 3000
    html = f'<p><a href="http://[">a</a><a href="/b">b</a><a href="{long}">c</a></p>'
    assert text.extract(html, "http://a/")["links"] == ["http://a/b"]
