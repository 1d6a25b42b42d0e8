"""The rules that hold for every endpoint, shown on endpoints made for it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from api_client import Fetch, error, fetcher, lines
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from jupyter_ollama.api.endpoint import Call, Endpoint, Reply, Route, Stream
from jupyter_ollama.api.origins import Origins
from jupyter_ollama.api.standalone import StandaloneExchange
from jupyter_ollama.api.wire import ShowRequest
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.errors import OllamaError


class SmallBodies(StandaloneExchange):
    max_json_body = 1000


class FullDisk:
    def write(self, chunk: bytes) -> None:
        raise OSError("No space left on device")

    def close(self) -> None:
        pass


@dataclass
class Stage:
    """Endpoints, and the events by which a test follows them."""

    server: OllamaServer = field(default_factory=OllamaServer)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    proceed: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    async def echo(self, call: Call) -> Reply:
        return Reply({"model": call.decode(ShowRequest).model})

    async def fail(self, call: Call) -> Stream:
        return self._failing(OllamaError(503, "busy"), parts=call.decode(ShowRequest).verbose)

    async def crash(self, call: Call) -> Stream:
        return self._failing(KeyError("secret detail"), parts=call.decode(ShowRequest).verbose)

    async def _failing(self, exception: Exception, parts: bool) -> Stream:
        if parts:
            yield {"n": 1}
            yield {"n": 2}
        raise exception

    async def stepwise(self, call: Call) -> Stream:
        return self._stepwise()

    async def _stepwise(self) -> Stream:
        yield {"n": 1}
        await self.proceed.wait()
        yield {"n": 2}

    def full_disk(self, call: Call, argument: str) -> FullDisk:
        return FullDisk()

    async def wait(self, call: Call) -> Reply:
        """Hang before anything is sent, as a load or a long prefill does."""
        self.entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        return Reply()

    async def hang(self, call: Call) -> Stream:
        return self._hanging()

    async def _hanging(self) -> Stream:
        """Hang after the first part."""
        try:
            yield {"n": 1}
            self.entered.set()
            await asyncio.Event().wait()
        finally:
            self.left.set()

    async def flood(self, call: Call) -> Stream:
        return self._flood()

    async def _flood(self) -> Stream:
        for _ in range(100):
            self.sent += 1
            yield {"text": "x" * 1_000_000}


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def stage_url(stage: Stage, jp_asyncio_loop: Any) -> Iterator[str]:
    async def start() -> tuple[HTTPServer, int]:
        names = ("echo", "fail", "crash", "stepwise", "wait", "hang", "flood")
        endpoints = {name: Endpoint(getattr(stage, name), "", "") for name in names}
        table: list[Any] = [
            ("/" + name, StandaloneExchange, {"server": stage.server, "route": route})
            for name, route in ((n, Route("/" + n, {"POST": e})) for n, e in endpoints.items())
        ]
        small = Route("/small", {"POST": endpoints["echo"]})
        table.append(("/small", SmallBodies, {"server": stage.server, "route": small}))
        disk = Route("/disk/(.*)", {"POST": Endpoint(stage.echo, "", "", True, stage.full_disk)})
        table.append((disk.path, StandaloneExchange, {"server": stage.server, "route": disk}))
        http_server = HTTPServer(Application(table, origins=Origins(), check_host=True))
        sockets = bind_sockets(0, "127.0.0.1")
        http_server.add_sockets(sockets)
        return http_server, sockets[0].getsockname()[1]

    http_server, port = jp_asyncio_loop.run_until_complete(start())
    yield f"http://127.0.0.1:{port}"
    http_server.stop()
    jp_asyncio_loop.run_until_complete(http_server.close_all_connections())


@pytest.fixture
def fetch(stage_url: str) -> Fetch:
    return fetcher(stage_url, {})


async def connect(url: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a POST over a bare socket, so that the test can close it when it likes."""
    port = int(url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    )
    await writer.drain()
    return reader, writer


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "nonsense"],
)
async def test_the_content_type_does_not_matter(fetch: Fetch, content_type: str) -> None:
    headers = {"Content-Type": content_type}
    response = await fetch("POST", "/echo", {"model": "a&b=c"}, headers=headers)
    assert (response.code, json.loads(response.body)) == (200, {"model": "a&b=c"})
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"


async def test_chunked_bodies_are_read(fetch: Fetch) -> None:
    async def body(write: Callable[[bytes], Any]) -> None:
        await write(b'{"mod')
        await write(b'el": "m"}')

    response = await fetch("POST", "/echo", body_producer=body)
    assert json.loads(response.body) == {"model": "m"}


async def test_a_missing_body_is_reported(fetch: Fetch) -> None:
    response = await fetch("POST", "/echo", b"")
    assert (response.code, error(response)) == (400, "missing request body")


async def test_an_error_before_the_first_part_has_its_status(fetch: Fetch) -> None:
    response = await fetch("POST", "/fail", {})
    assert (response.code, error(response)) == (503, "busy")


async def test_an_error_after_the_first_part_is_one_more_line(fetch: Fetch) -> None:
    response = await fetch("POST", "/fail", {"verbose": True})
    assert response.code == 200
    assert response.headers["Content-Type"] == "application/x-ndjson"
    assert lines(response) == [{"n": 1}, {"n": 2}, {"error": "busy"}]
    assert response.body.endswith(b"\n")


@pytest.mark.parametrize("parts", [False, True])
async def test_a_crash_is_logged_and_its_answer_has_no_details(
    fetch: Fetch, parts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "jupyter_ollama"):
        response = await fetch("POST", "/crash", {"verbose": parts})
    message = "internal server error, check the server log for details"
    if parts:
        assert (response.code, lines(response)[-1]) == (200, {"error": message})
    else:
        assert (response.code, error(response)) == (500, message)
    assert "secret detail" not in response.body.decode()
    assert "secret detail" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_body_that_cannot_be_stored_is_reported(fetch: Fetch) -> None:
    response = await fetch("POST", "/disk/x", b"x" * 1_000_000)
    assert response.code == 500
    assert "server log" in error(response)


async def test_every_part_is_flushed(fetch: Fetch, stage: Stage) -> None:
    received: list[bytes] = []

    def receive(chunk: bytes) -> None:
        received.append(chunk)
        stage.proceed.set()

    await fetch("POST", "/stepwise", {}, streaming_callback=receive)
    assert received == [b'{"n":1}\n', b'{"n":2}\n']


@pytest.mark.parametrize("path", ["/wait", "/hang"])
async def test_a_client_that_disconnects_stops_its_work(
    stage: Stage, stage_url: str, path: str
) -> None:
    _, writer = await connect(stage_url, path)
    await asyncio.wait_for(stage.entered.wait(), 10)
    assert stage.server.requests_running == 1
    writer.close()
    await asyncio.wait_for(stage.left.wait(), 10)
    await asyncio.sleep(0)
    assert stage.server.requests_running == 0


async def test_a_client_that_does_not_read_holds_the_stream_back(
    stage: Stage, stage_url: str
) -> None:
    reader, writer = await connect(stage_url, "/flood")
    before = -1
    while stage.sent != before or not stage.sent:
        before = stage.sent
        await asyncio.sleep(0.2)
    assert 0 < stage.sent < 100
    while stage.sent < 100:
        assert await reader.read(2**20)
    writer.close()


@pytest.mark.parametrize("length", ["2, 3", "abc", "9" * 5000])
async def test_a_senseless_length_is_the_fault_of_the_client(stage_url: str, length: str) -> None:
    port = int(stage_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    writer.write(head.encode())
    status = (await asyncio.wait_for(reader.readline(), 10)).decode()
    assert status.startswith("HTTP/1.1 400 ")
    writer.close()


@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_beyond_the_limit_get_413(fetch: Fetch, chunked: bool) -> None:
    async def produce(write: Callable[[bytes], Any]) -> None:
        for _ in range(20):
            await write(b" " * 1000)

    if chunked:
        response = await fetch("POST", "/small", body_producer=produce)
    else:
        response = await fetch("POST", "/small", b" " * 20_000)
    assert (response.code, error(response)) == (413, "http: request body too large")
    after = await fetch("POST", "/small", {"model": "m"})
    assert after.code == 200
