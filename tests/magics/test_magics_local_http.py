"""The HTTP client for rows: what it reads, and when it keeps a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from jupyter_ollama_client import Client, OllamaConnectionError, OllamaResponseError
from jupyter_ollama_client.async_client import AsyncClient
from jupyter_ollama_client.local_http import BadResponse, LocalHTTP

BODY = b'{"a":"\xc3\xa9"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + BODY


class Answers:
    """A server that answers each request with the next bytes; None closes the connection."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.connections = self.open = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        with suppress(ConnectionError):
            await self._answer(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        self.open -= 1

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await _head(reader):
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(length))
            answer = self.answers.pop(0)
            writer.write(answer or b"")
            if answer is None or b"close" in answer or b"HTTP/1.0" in answer or b"cut" in answer:
                break


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


@asynccontextmanager
async def serving(answers: Answers) -> AsyncIterator[str]:
    server = await asyncio.start_server(answers, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base"
        while answers.open:  # noqa: ASYNC110 - the server's connections end, too
            await asyncio.sleep(0.01)


async def post(http: LocalHTTP) -> tuple[int, bytes]:
    response = await http.post("/api/chat", b"{}", {"X-More": "1"})
    return response.status_code, response.content


@pytest.mark.parametrize(
    ("answer", "body", "kept"),
    [
        (OK, BODY, True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, BODY, True),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n",
            b"abc0123456789",
            True,
        ),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab", b"ab", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", b"to the end", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", b"ab", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", b"", True),
    ],
)
async def test_responses(answer: bytes, body: bytes, kept: bool) -> None:
    answers = Answers(answer, OK)
    async with serving(answers) as url:
        http = LocalHTTP(url, None, {"Authorization": "token abc"}, 10)
        assert await post(http) == (
            int(answer.split(b"\r\n\r\n")[0][-4:] and _status(answer)),
            body,
        )
        assert await post(http) == (200, BODY)
        http.close()
    assert answers.connections == (1 if kept else 2)
    first = answers.requests[0]
    assert first.startswith(b"POST /base/api/chat HTTP/1.1\r\nHost: 127.0.0.1:")
    for line in (b"Authorization: token abc", b"X-More: 1", b"Content-Length: 2"):
        assert b"\r\n" + line + b"\r\n" in first


def _status(answer: bytes) -> int:
    final = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    return int(final.split(b" ")[1])


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\nX: cut",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0 server\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
    ],
)
async def test_responses_that_are_not_whole(answer: bytes | None) -> None:
    async with serving(Answers(answer, OK)) as url:
        http = LocalHTTP(url, None, {}, 10)
        with pytest.raises((BadResponse, ConnectionError)):
            await post(http)
        assert (await post(http))[0] == 200
        http.close()


async def test_a_connection_that_the_server_has_closed_is_not_used() -> None:
    answers = Answers(OK, OK)
    writers: list[asyncio.StreamWriter] = []

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await answers(reader, writer)

    server = await asyncio.start_server(closing, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        http = LocalHTTP(url, None, {}, 10)
        await post(http)
        writers[0].close()
        await asyncio.sleep(0.1)
        assert (await post(http))[0] == 200
        http.close()
    assert answers.connections == 2


async def test_a_cancelled_request_closes_its_connection() -> None:
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        while await reader.read(1000):
            pass
        ended.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        http = LocalHTTP(url, None, {}, 10)
        task = asyncio.create_task(post(http))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, ConnectionError)):
            await task
        try:
            await asyncio.wait_for(ended.wait(), 10)
        except ConnectionError:
            pass


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    answers = Answers(OK)
    async with await asyncio.start_unix_server(answers, tmp_path / "s"):
        http = LocalHTTP("http://localhost", str(tmp_path / "s"), {}, 10)
        assert await post(http) == (200, BODY)
        http.close()


async def test_a_header_cannot_end() -> None:
    with pytest.raises(ValueError, match="line break"):
        LocalHTTP("http://localhost", None, {"Authorization": "a\r\nX: b"}, 10)


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (None, OllamaConnectionError, "the server closed the connection|0 bytes read"),
        (
            b'HTTP/1.1 400 Bad\r\nContent-Length: 15\r\n\r\n{"error": "no"}',
            OllamaResponseError,
            "^no$",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi",
            OllamaResponseError,
            "text/html instead of JSON",
        ),
    ],
)
async def test_errors_of_the_client(
    answer: bytes | None, error: type[Exception], message: str, connect: Callable[..., Client]
) -> None:
    async with serving(Answers(answer)) as url, AsyncClient(connect(url)) as http:
        with pytest.raises(error, match=message):
            await http.call("/api/chat", {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_no_server(host: str, connect: Callable[..., Client]) -> None:
    async with AsyncClient(connect(f"http://{host}:9")) as http:
        call: Awaitable[object] = http.call("/api/chat", {})
        with pytest.raises(OllamaConnectionError, match=r"Connection refused") as caught:
            await call
    assert not caught.value.connected
