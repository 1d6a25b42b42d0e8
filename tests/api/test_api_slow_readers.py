"""Clients that do not read: others get slots, memory is bounded, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from api_client import chat, generate, lines, wait_until
from shared_server import USER, Shared, sharing

ENDLESS = {"temperature": 0, "num_ctx": 512, "logit_bias": {"0": -100, "2": -100}}
LOUD = generate(options=ENDLESS | {"num_predict": 60}, raw=True, logprobs=True, top_logprobs=20)
"""Some 200 kB, in parts."""
TEXTS = {"model": "all-minilm", "input": [f"text {n}" for n in range(200)]}
"""A whole answer of a megabyte."""
SHORT = generate(options={"num_predict": 2, "temperature": 0}, raw=True, stream=False)
SMALL = 4096
"""Bytes that kernels keep of an answer, on either side."""


@contextmanager
def deaf(
    url: str, path: str, body: Any, headers: dict[str, str] | None = None
) -> Iterator[socket.socket]:
    """Post a request and read nothing."""
    address = urlsplit(url)
    data = json.dumps(body).encode()
    head = {"Host": address.netloc, "Content-Length": str(len(data)), USER: "eve"} | (headers or {})
    fields = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        client.connect((address.hostname, address.port))
        client.sendall(f"POST {address.path}{path} HTTP/1.1\r\n{fields}\r\n".encode() + data)
        client.setblocking(False)
        yield client


async def is_hung_up(client: socket.socket) -> bool:
    """Read all available bytes; return whether the other side has closed the connection."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(20):
            while await loop.sock_recv(client, 2**16):
                pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def running(shared: Shared) -> int:
    return sum(account.running for account in shared.server.admission.accounts.values())


def unread(shared: Shared) -> int:
    return shared.server.outboxes.total


@contextmanager
def several(count: int, open_one: Callable[[], Any]) -> Iterator[list[socket.socket]]:
    """Open so many."""
    opened = [open_one() for _ in range(count)]
    try:
        yield [one.__enter__() for one in opened]
    finally:
        for one in opened:
            one.__exit__(None, None, None)


async def test_slots_are_free_when_the_model_is_done(ollama_store: Path) -> None:
    """Nothing is closed here: answers end although no client reads them."""
    async with sharing(
        models_dir=str(ollama_store), num_parallel=2, stalled_seconds=0, send_buffer=SMALL
    ) as shared:
        with several(5, lambda: deaf(shared.url, "/api/generate", LOUD)):
            await wait_until(lambda: len(shared.server.admission.requests) == 5)
            response = await shared.user("ann")("POST", "/api/generate", SHORT)
            assert response.code == 200
            await wait_until(lambda: running(shared) == 0)
            assert unread(shared) > 5 * 50_000
            assert len(shared.server.admission.requests) == 5


async def test_a_client_that_reads_nothing_is_disconnected_and_its_request_ends(
    ollama_store: Path,
) -> None:
    loud = LOUD | {"options": ENDLESS | {"num_predict": 5000}}
    async with sharing(
        models_dir=str(ollama_store), stalled_seconds=0.3, send_buffer=SMALL
    ) as shared:
        with deaf(shared.url, "/api/generate", loud) as client:
            await wait_until(lambda: running(shared) == 1)
            await wait_until(lambda: not shared.server.admission.requests)
            assert running(shared) == unread(shared) == 0
            assert await is_hung_up(client)


async def test_a_stream_that_is_not_read_is_bounded(ollama_store: Path) -> None:
    loud = LOUD | {"options": ENDLESS | {"num_predict": 5000}}
    async with sharing(
        models_dir=str(ollama_store),
        stalled_seconds=0,
        max_unread_bytes=2**16,
        send_buffer=SMALL,
    ) as shared:
        with deaf(shared.url, "/api/generate", loud):
            await wait_until(lambda: running(shared) == 1)
            await wait_until(lambda: not shared.server.admission.requests)
            assert unread(shared) == 0


@pytest.mark.parametrize("accept", ["application/json", "application/vnd.apache.arrow.stream"])
async def test_whole_answers_that_are_not_read_hold_no_slots(
    ollama_store: Path, accept: str
) -> None:
    if "arrow" in accept:
        pytest.importorskip("pyarrow")
    async with sharing(
        models_dir=str(ollama_store),
        stalled_seconds=1,
        max_unread_total=2**20,
        send_buffer=SMALL,
    ) as shared:
        with several(
            6, lambda: deaf(shared.url, "/api/embed", TEXTS, {"Accept": accept})
        ) as clients:
            response = await shared.user("ann")("POST", "/api/embed", TEXTS | {"input": "a"})
            assert response.code == 200
            await wait_until(lambda: unread(shared) > 0)
            assert unread(shared) <= 2**20
            await wait_until(lambda: running(shared) == unread(shared) == 0)
            await wait_until(lambda: not shared.server.admission.requests)
            for client in clients:
                assert await is_hung_up(client)


async def test_the_shared_memory_goes_to_clients_that_read(ollama_store: Path) -> None:
    async with sharing(
        models_dir=str(ollama_store),
        stalled_seconds=0,
        max_unread_total=2**20,
        send_buffer=SMALL,
    ) as shared:
        with several(3, lambda: deaf(shared.url, "/api/embed", TEXTS)):
            await wait_until(lambda: unread(shared) > 0)
            for _ in range(3):
                response = await shared.user("ann")("POST", "/api/embed", TEXTS)
                assert len(json.loads(response.body)["embeddings"]) == 200


async def test_slow_readers_get_all_of_their_answers(ollama_store: Path) -> None:
    async with sharing(
        models_dir=str(ollama_store), stalled_seconds=5, send_buffer=SMALL
    ) as shared:
        expected = await shared.user("ann")("POST", "/api/embed", TEXTS)
        with deaf(shared.url, "/api/embed", TEXTS, {"Connection": "close"}) as client:
            loop = asyncio.get_running_loop()
            received = b""
            while data := await loop.sock_recv(client, 2**15):
                received += data
                await asyncio.sleep(0.005)
            body = json.loads(received.partition(b"\r\n\r\n")[2])
            assert body["embeddings"] == json.loads(expected.body)["embeddings"]


async def test_a_request_that_is_cancelled_while_unread_is_gone(ollama_store: Path) -> None:
    async with sharing(
        models_dir=str(ollama_store), stalled_seconds=0, send_buffer=SMALL
    ) as shared:
        headers = {"X-Request-Id": "deaf"}
        with deaf(shared.url, "/api/generate", LOUD, headers) as client:
            await wait_until(lambda: unread(shared) > 50_000 and running(shared) == 0)
            response = await shared.user("eve")("DELETE", "/api/requests/deaf")
            assert response.code == 200
            await wait_until(lambda: not shared.server.admission.requests)
            assert await is_hung_up(client)
        response = await shared.user("ann")("POST", "/api/chat", chat(options=SHORT["options"]))
        assert lines(response)[-1]["done"]
