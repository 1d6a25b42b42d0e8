"""Idle connections never block clients that send requests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_client import fetcher, wait_until
from cli_process import free_port
from tornado.httpclient import AsyncHTTPClient

from jupyter_ollama.api import connections
from jupyter_ollama.api.connections import most_connections
from jupyter_ollama.config import OllamaServer


def connect(url: str, text: str = "", source: str = "127.0.0.1") -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)), source_address=(source, 0))
    client.sendall(text.encode())
    return client


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.fixture
def clients() -> Iterator[list[socket.socket]]:
    kept: list[socket.socket] = []
    yield kept
    for client in kept:
        client.close()


HEAD = "POST /api/show HTTP/1.1\r\nHost: localhost\r\n"
UNFINISHED = HEAD + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n{}"


async def connect_busy(url: str, source: str = "127.0.0.1") -> socket.socket:
    """Connect with a request that does not end, and return once the server has read its head."""
    client = connect(url, UNFINISHED, source)
    assert (await asyncio.to_thread(client.recv, 100)).startswith(b"HTTP/1.1 100")
    return client


async def test_clients_that_connect_while_the_server_works_are_answered(
    models_dir: Path, listening: Any, clients: list[socket.socket]
) -> None:
    """The system keeps their connections, although none is accepted meanwhile."""
    url = await listening(OllamaServer(models_dir=str(models_dir)))
    for _ in range(600):  # on the thread of the server
        clients.append(connect(url, "GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    read = await asyncio.gather(*(asyncio.to_thread(one.recv, 12) for one in clients))
    assert read == [b"HTTP/1.1 200"] * 600


@pytest.mark.parametrize("text", ["", "POST /api", HEAD])
async def test_idle_connections_make_way(
    models_dir: Path,
    listening: Any,
    clients: list[socket.socket],
    caplog: pytest.LogCaptureFixture,
    text: str,
) -> None:
    url = await listening(OllamaServer(models_dir=str(models_dir), max_connections=10))
    busy = connect(url, HEAD + "Content-Length: 5\r\n\r\n{}")
    clients.append(busy)
    for _ in range(30):
        clients.append(connect(url, text))
        await asyncio.sleep(0.01)
    assert (await fetcher(url, {})("GET", "/api/version")).code == 200
    await wait_until(lambda: sum(map(is_closed, clients)) >= 21)
    assert not is_closed(busy)
    assert not is_closed(clients[-1])
    busy.setblocking(True)
    busy.sendall(b"   ")
    assert (await asyncio.to_thread(busy.recv, 12)) == b"HTTP/1.1 400"
    assert not [record for record in caplog.records if "refused" in record.message]


async def test_busy_connections_stay_and_that_is_logged_once(
    models_dir: Path, listening: Any, clients: list[socket.socket], caplog: Any
) -> None:
    url = await listening(OllamaServer(models_dir=str(models_dir), max_connections=3))
    for _ in range(3):
        clients.append(await connect_busy(url))
    more = [connect(url) for _ in range(20)]
    clients += more
    await wait_until(lambda: all(map(is_closed, more)))
    assert not any(map(is_closed, clients[:3]))
    messages = [record.message for record in caplog.records if "busy" in record.message]
    assert messages == ["all of 3 connections are busy (refused so far: 1)"]


async def test_one_address_has_its_part(
    models_dir: Path,
    listening: Any,
    clients: list[socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Addresses of this host stand for others, of which there are none here.
    monkeypatch.setattr(connections, "_name", lambda address: str(address[0]))
    server = OllamaServer(models_dir=str(models_dir), max_connections_of_address=4)
    url = await listening(server)
    for _ in range(4):
        clients.append(await connect_busy(url, "127.0.0.2"))
    extra = connect(url, UNFINISHED, "127.0.0.2")
    other = await connect_busy(url, "127.0.0.3")
    clients += [extra, other]
    await wait_until(lambda: is_closed(extra))
    assert not any(map(is_closed, [*clients[:4], other]))


async def test_heads_that_do_not_end_and_connections_without_requests_are_closed(
    models_dir: Path, listening: Any, clients: list[socket.socket]
) -> None:
    url = await listening(OllamaServer(models_dir=str(models_dir), idle_timeout=0.3))
    for text in ("", HEAD, "GET /api/version HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        client = connect(url, text)
        clients.append(client)

        def read_all(client: socket.socket = client) -> bytes:
            client.settimeout(60)
            return b"".join(iter(lambda: client.recv(65536), b""))

        found = await asyncio.to_thread(read_all)
        assert found.startswith(b"HTTP/1.1 200" if "version" in text else b"")


def test_connections_leave_descriptors_free() -> None:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert most_connections(OllamaServer(max_connections=10)) == 10
    server = OllamaServer(max_connections=10**9)
    assert most_connections(server) == soft - min(256, soft // 2)


SERVE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
from jupyter_ollama.cli.app import main
sys.argv = ["jupyter-ollama", "serve", *sys.argv[1:]]
main()
"""


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process open a thousand connections."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limits[1], 4096), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("reserved", [100, 0])
def test_a_thousand_idle_connections_at_a_low_limit(
    tmp_path: Path, many_files: None, reserved: int
) -> None:
    """Without a reserve, accepting fails for want of descriptors; that is survived, too."""
    url = f"http://127.0.0.1:{free_port()}"
    environment = os.environ | {"OLLAMA_HOST": url, "OLLAMA_MODELS": str(tmp_path / "models")}
    option = f"--OllamaServer.reserved_descriptors={reserved}"
    command = [sys.executable, "-c", SERVE, option]
    log = tmp_path / "log"
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("wb"))
        process = stack.enter_context(
            subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        )
        stack.callback(process.terminate)
        asyncio.run(_ask_among_idle_ones(url, process, stack))
    text = log.read_text()
    assert text.count("\n") < 20, text[:3000]
    assert "Traceback" not in text


async def _ask_among_idle_ones(
    url: str, process: subprocess.Popen[bytes], stack: contextlib.ExitStack
) -> None:
    client = AsyncHTTPClient(force_instance=True)
    stack.callback(client.close)
    while True:
        assert process.poll() is None
        with contextlib.suppress(OSError):
            await client.fetch(url + "/api/version")
            break
        await asyncio.sleep(0.05)
    for _ in range(1000):
        stack.enter_context(connect(url))
    for _ in range(5):
        response = await client.fetch(url + "/api/version", request_timeout=60)
        assert response.code == 200


def test_a_jupyter_server_closes_idle_connections_too(tmp_path: Path) -> None:
    port = free_port()
    command = [
        Path(sys.executable).with_name("jupyter-server"),
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--OllamaServer.idle_timeout=0.5",
        f"--OllamaServer.models_dir={tmp_path / 'models'}",
        "--ServerApp.jpserver_extensions={'jupyter_ollama': True}",
    ]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path), "HOME": str(tmp_path)}
    with contextlib.ExitStack() as stack:
        log = stack.enter_context((tmp_path / "log").open("wb"))
        process = stack.enter_context(
            subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        )
        stack.callback(process.terminate)
        while True:
            assert process.poll() is None
            with contextlib.suppress(ConnectionRefusedError):
                client = stack.enter_context(connect(f"http://127.0.0.1:{port}"))
                break
            time.sleep(0.1)
        # The first connection may be there before the extension has started.
        for _ in range(5):
            client.settimeout(10)
            with contextlib.suppress(TimeoutError):
                assert client.recv(1) == b""
                return
            client = stack.enter_context(connect(f"http://127.0.0.1:{port}"))
        pytest.fail("idle connections stay open")
