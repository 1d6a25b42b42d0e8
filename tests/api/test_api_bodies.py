"""The bounds of request bodies, and their least rate."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import sys
import threading
import tracemalloc
from typing import Any

import pytest
from api_client import Fetch, error, fetcher, wait_until

from jupyter_ollama.api import endpoint
from jupyter_ollama.api.compression import DecompressionLimits, decompress
from jupyter_ollama.api.decoding import decode
from jupyter_ollama.api.exchange import LONG_BODY
from jupyter_ollama.api.multipart import Form
from jupyter_ollama.api.wire import ChatRequest, GenerateRequest
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.flow_control.body_budget import SMALL, BodyBudget, BodyReservation
from jupyter_ollama.scheduler.limits import LimitReached

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NOTHING = {"model": "nope"}


def peak_of(body: bytes, into: type[Any]) -> int:
    """Return how many bytes decoding takes beyond the body itself."""
    tracemalloc.start()
    with contextlib.suppress(OllamaError):
        decode(body, into)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


MIB = 2**20
HOSTILE = {
    "lists in an unknown field": b'{"model": "m", "u": [' + b"[]," * 4 * MIB + b"[]]}",
    "keys in an unknown field": b'{"u": {' + b'"a":1,' * 2 * MIB + b'"a":1}}',
    "lists in options": b'{"options": {"a": [' + b"[]," * 4 * MIB + b"[]]}}",
    "messages": b'{"messages": [' + b"{}," * 4 * MIB + b"{}]}",
    "numbers": b'{"context": [' + b"1," * 6 * MIB + b"1]}",
    "fields": b"{" + b",".join(b'"%d":1' % i for i in range(MIB)) + b"}",
    "trailing bytes": b'{"model": "m"}' + b"[]," * 4 * MIB,
    "broken": b'{"options": {"a": [' + b"[]," * 4 * MIB,
    "a broken character": b'{"options": {"\xff": [' + b"[]," * 4 * MIB + b"[]]}}",
    "escaped quotation marks": b'{"options": ["\\\\\\"",' + b'[],"\\\\",' * 2 * MIB + b"[]]}",
    "depth": b'{"options": ' + b"[" * 12 * MIB,
    "depth of members": b'{"a":' * 2 * MIB,
    "another value": b"[" + b"[]," * 4 * MIB + b"[]]",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_body_takes_many_times_its_size_to_decode(kind: str) -> None:
    for into in (ChatRequest, GenerateRequest):
        assert peak_of(HOSTILE[kind], into) < 6 * len(HOSTILE[kind])


def test_unknown_fields_are_skipped_whatever_they_hold() -> None:
    for kind in ("lists in an unknown field", "keys in an unknown field"):
        decode(HOSTILE[kind], ChatRequest)
    assert decode(HOSTILE["lists in an unknown field"], GenerateRequest).model == "m"


def test_values_are_counted_where_they_are_read() -> None:
    def body(text: str) -> bytes:
        return json.dumps({"messages": [{"content": text}] * 3, "u": [1] * 100}).encode()

    texts = ",[{" * 99 + '\\"' * 99  # none of them is a value
    assert decode(body(texts), ChatRequest, 12).messages[2].content == texts
    for form in (body(texts), body(texts) + b" {", body(texts).replace(b"{{{", b"\xff")):
        with pytest.raises(OllamaError, match="the request holds more than 5 JSON values"):
            decode(form, ChatRequest, 5)


@pytest.mark.parametrize("path", ["/api/generate", "/v1/chat/completions", "/v1/messages"])
async def test_long_bodies_are_decoded_aside(
    standalone: Fetch, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    threads = []

    def noting(*arguments: Any) -> Any:
        threads.append(threading.current_thread())
        return decode(*arguments)

    monkeypatch.setattr(endpoint, "decode", noting)
    for padding in (LONG_BODY, 1):
        await standalone("POST", path, NOTHING | {"u": "x" * padding})
    assert [thread is threading.main_thread() for thread in threads] == [False, True]


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_compressed_bodies_are_unpacked_only_as_far_as_allowed(pack: Any) -> None:
    encoding = "gzip" if pack is gzip.compress else "zstd"
    held: list[int] = []

    def refusal(body: bytes, bounds: DecompressionLimits) -> str:
        held.clear()
        with pytest.raises(OllamaError) as caught:
            decompress(body, encoding, bounds, held.append)
        assert caught.value.status == 413
        return caught.value.message

    bomb = pack(bytes(100 * MIB))
    usual = DecompressionLimits(64 * MIB, 200, 10)
    assert "compressed to less than 1/200 of its size" in refusal(bomb, usual)
    assert held[-1] <= max(MIB, 200 * len(bomb))
    assert refusal(bomb, DecompressionLimits(8 * MIB, 10**6, 10)) == "http: request body too large"
    assert held[-1] <= 8 * MIB
    assert "more than 10 compressed texts" in refusal(pack(b"") * 11, usual)
    texts = [b"one ", b"", b"two " * 100_000, b"three"]
    assert decompress(b"".join(map(pack, texts)), encoding, usual) == b"".join(texts)
    assert decompress(pack(b"x" * MIB), encoding, usual) == b"x" * MIB


def test_a_large_window_is_refused() -> None:
    options = {zstd.CompressionParameter.window_log: 27}
    packer = zstd.ZstdCompressor(options=options)
    body = packer.compress(bytes(MIB)) + packer.flush()
    with pytest.raises(OllamaError, match="failed to decompress zstd body"):
        decompress(body, "zstd", DecompressionLimits(64 * MIB, 200, 10))


async def test_a_bomb_is_refused_over_http(either: Fetch) -> None:
    bomb = zstd.compress(b'{"u": [' + b"[]," * 10 * MIB + b"[]]}")
    assert len(bomb) < 20_000
    response = await either("POST", "/api/show", bomb, headers={"Content-Encoding": "zstd"})
    assert (response.code, "compressed to less" in error(response)) == (413, True)


def test_the_budget_is_shared_and_comes_back() -> None:
    budget = BodyBudget(100, 60)
    accounts = [BodyReservation(budget, user) for user in ("ann", "ann", "bob", "eve")]
    accounts[0].hold(SMALL + 40)
    accounts[0].hold(SMALL + 50)
    with pytest.raises(LimitReached) as caught:
        accounts[1].hold(SMALL + 11)
    assert (caught.value.status, caught.value.retry_after) == (503, 2)
    accounts[2].hold(SMALL + 45)
    with pytest.raises(LimitReached):
        accounts[3].hold(SMALL + 6)
    accounts[3].hold(SMALL)
    assert budget.held == 95
    for account in accounts * 2:
        account.close()
    assert budget.held == 0


async def test_bodies_beyond_the_budget_are_to_be_retried(models_dir: Any, listening: Any) -> None:
    server = OllamaServer(models_dir=str(models_dir), max_bodies_bytes=MIB, min_body_rate=0)
    url = await listening(server)
    fetch = fetcher(url, {})
    with hanging(url, 2 * MIB, "x" * (MIB + SMALL - 1000)):
        await wait_until(lambda: server.body_budget.held > MIB - 10_000)
        for body in (NOTHING | {"u": "x" * 2 * SMALL}, {"options": {"a": [0] * 10_000}}):
            response = await fetch("POST", "/api/show", body)
            assert (response.code, response.headers["Retry-After"]) == (503, "2")
            assert "server busy" in error(response)
        assert (await fetch("POST", "/api/show", NOTHING)).code == 404
    await wait_until(lambda: server.body_budget.held == 0)
    assert (await fetch("POST", "/api/show", NOTHING | {"u": "x" * 2 * SMALL})).code == 404


async def test_a_stalled_body_ends_with_408(models_dir: Any, listening: Any) -> None:
    server = OllamaServer(models_dir=str(models_dir), body_timeout=0.1, min_body_rate=1000)
    url = await listening(server)
    for path in ("/api/show", "/api/blobs/sha256:" + "0" * 64):
        with hanging(url, 1000, "x", path) as client:
            answer = await asyncio.to_thread(read_all, client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"comes too slowly" in answer
    assert not [file for file in (models_dir / "blobs").rglob("*") if file.is_file()]


@pytest.mark.parametrize("path", ["/api/show", "/v1/audio/transcriptions"])
async def test_bodies_without_an_end_are_broken_off(
    models_dir: Any, listening: Any, path: str
) -> None:
    server = OllamaServer(models_dir=str(models_dir), max_body_bytes=9000, max_form_bytes=9000)
    host, port = (await listening(server)).removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode())
    answer = asyncio.ensure_future(reader.read())
    sent = 0
    while not answer.done() and sent < 1000:
        writer.write(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        sent += 1
        await asyncio.sleep(0.001)
    assert (await answer).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_a_form_waits_on_disk_and_is_parsed_without_copies() -> None:
    sound = b"\r\n\r\n--edge \x00" * 300_000
    assert not sound.endswith(b"\r\n")
    fields = {"model": "m", "prompt": "p" * 100_000, "language": ""}
    parts = [f'form-data; name="{key}"\r\n\r\n{value}' for key, value in fields.items()]
    parts.insert(1, 'form-data; name="file"; filename="a.wav"\r\n\r\n')
    bodies = [part.encode() + (sound if "a.wav" in part else b"") for part in parts]
    body = b"".join(b"--edgy\r\nContent-Disposition: " + part + b"\r\n" for part in bodies)
    body += b"--edgy--\r\n"
    for kind in ("plain", "gzip"):
        form = Form(100 * MIB)
        sent = body if kind == "plain" else gzip.compress(body)
        tracemalloc.start()
        for start in range(0, len(sent), 65536):
            form.write(sent[start : start + 65536])
        assert kind == "gzip" or tracemalloc.get_traced_memory()[1] < 3 * MIB
        if kind == "gzip":
            form.decompress("gzip", 10**6, 10)
            tracemalloc.reset_peak()
        texts, files = form.read("multipart/form-data; boundary=edgy")
        assert kind == "gzip" or tracemalloc.get_traced_memory()[1] < 1.5 * len(body)
        tracemalloc.stop()
        assert files == {"file": sound}
        assert texts == {key: [value] for key, value in fields.items()}
        form.close()


def hanging(url: str, length: int, text: str, path: str = "/api/show") -> socket.socket:
    """Send the beginning of a request whose body does not go on."""
    host, port = url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)))
    head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {length}\r\n\r\n"
    client.setblocking(False)
    data = memoryview((head + text).encode())

    async def send() -> None:
        rest = data
        while rest:
            await asyncio.sleep(0)
            try:
                rest = rest[client.send(rest) :]
            except BlockingIOError:
                await asyncio.sleep(0.01)
        client.setblocking(True)

    client_task = asyncio.ensure_future(send())
    client_task.add_done_callback(lambda task: task.exception())
    return client


def read_all(client: socket.socket) -> bytes:
    client.setblocking(True)
    client.settimeout(60)
    found = b""
    while data := client.recv(65536):
        found += data
    return found
