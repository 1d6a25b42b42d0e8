"""The API on disks that are full or read-only, and failing uploads: the errors for clients."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, answer, error, generate, lines, wait_until
from peers import faulty_registry
from shared_server import sharing
from small_disk import MIB, Disk, small_disk

DATA = bytes(range(256)) * 4096 * 4
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
FULL = "no space left on device"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", 3 * MIB, monkeypatch) as disk:
        yield disk


@pytest.fixture
def models_dir(disk: Disk) -> Path:
    return disk.path / "models"


def files(models_dir: Path) -> list[str]:
    """Return the names of all files of the store but marks and the lock."""
    found = (path for path in models_dir.rglob("*") if path.is_file() or path.is_symlink())
    return [path.name for path in found if path.suffix not in (".loose", ".lock")]


def reported(text: str, models_dir: Path) -> str:
    """Return an error text for a client, after a check that it has no path of the store."""
    assert str(models_dir.parent) not in text
    return text


async def test_an_upload_that_the_disk_has_no_space_for(
    either: Fetch, disk: Disk, models_dir: Path
) -> None:
    disk.fill(left=MIB)
    response = await either("POST", f"/api/blobs/{DIGEST}", DATA)
    assert response.code == 500
    assert reported(error(response), models_dir) == (
        f"cannot write blob {DIGEST} to the folder of the models: {FULL}. Delete models or other "
        "files there, or keep models elsewhere (OLLAMA_MODELS)"
    )
    assert files(models_dir) == []
    disk.free()
    small = b"x" * 1000
    digest = f"sha256:{hashlib.sha256(small).hexdigest()}"
    assert (await either("POST", f"/api/blobs/{digest}", small)).code == 201


async def test_its_file_is_removed_before_the_body_is_complete(
    standalone_url: str, disk: Disk, models_dir: Path
) -> None:
    disk.fill(left=MIB)
    host, port = standalone_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /api/blobs/{DIGEST} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(DATA)}"
    writer.write(f"{head}\r\n\r\n".encode() + DATA[:1000])
    await asyncio.wait_for(wait_until(lambda: files(models_dir) != []), 20)
    writer.write(DATA[1000:-1])
    await asyncio.wait_for(wait_until(lambda: files(models_dir) == []), 20)
    writer.write(DATA[-1:])
    assert b" 500 " in await asyncio.wait_for(reader.readline(), 20)
    writer.close()


class Sending:
    """An upload that a test breaks off in some way, over a plain connection."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.host, _, rest = url.removeprefix("http://").partition(":")
        self.port, _, path = rest.partition("/")
        self.path = f"/{path}/api/blobs/{DIGEST}".replace("//", "/")
        self.headers = headers

    async def open(self, *lines: str) -> asyncio.StreamWriter:
        self.reader, writer = await asyncio.open_connection(self.host, int(self.port))
        head = [f"POST {self.path} HTTP/1.1", f"Host: {self.host}:{self.port}", *lines]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        writer.write(("\r\n".join(head) + "\r\n\r\n").encode())
        return writer


async def hang_up(sending: Sending) -> None:
    writer = await sending.open(f"Content-Length: {len(DATA)}")
    writer.write(DATA[:500_000])
    await writer.drain()
    await asyncio.sleep(0.05)  # the server has usually written a part; the result is the same
    writer.transport.abort()


async def say_it_was_all(sending: Sending) -> None:
    writer = await sending.open("Content-Length: 500000")
    writer.write(DATA[:500_000])
    await sending.reader.readline()
    writer.close()


async def break_the_chunks(sending: Sending) -> None:
    writer = await sending.open("Transfer-Encoding: chunked")
    writer.write(b"3e8\r\n" + DATA[:1000] + b"\r\nnonsense\r\n")
    await sending.reader.read()
    writer.close()


async def end_in_a_chunk(sending: Sending) -> None:
    writer = await sending.open("Transfer-Encoding: chunked")
    writer.write(b"fffff\r\n" + DATA[:1000])
    writer.write_eof()
    await sending.reader.read()
    writer.close()


async def hang_up_at_once(sending: Sending) -> None:
    writer = await sending.open(f"Content-Length: {len(DATA)}")
    writer.write(DATA[:100])
    await writer.drain()
    writer.transport.abort()


async def hang_up_at_the_end(sending: Sending) -> None:
    writer = await sending.open("Content-Length: 500000")
    writer.write(DATA[:500_000])
    await writer.drain()
    writer.transport.abort()


WAYS = [
    hang_up,
    say_it_was_all,
    break_the_chunks,
    end_in_a_chunk,
    hang_up_at_once,
    hang_up_at_the_end,
]


@pytest.mark.parametrize("way", WAYS)
async def test_the_file_of_a_failed_upload_is_removed(
    way: Callable[[Sending], Any],
    standalone_url: str,
    jupyter_url: str,
    jp_auth_header: dict[str, str],
    models_dir: Path,
) -> None:
    for sending in (
        Sending(standalone_url, {}),
        Sending(f"{jupyter_url}/ollama", jp_auth_header),
    ):
        await way(sending)
        await asyncio.wait_for(wait_until(lambda: files(models_dir) == []), 20)
    await asyncio.sleep(0.1)  # nothing may appear later
    assert files(models_dir) == []


async def test_a_pull_onto_a_disk_that_gets_full(
    standalone: Fetch, disk: Disk, models_dir: Path
) -> None:
    weights = DATA[: 2 * MIB]
    with faulty_registry() as registry:
        registry.publish("me/tiny", weights)

        async def fill_then_send(handler: Any, content: bytes) -> None:
            if len(content) > 1000 and not disk.path.joinpath("filler").exists():
                disk.fill(left=MIB)
            await handler.send(content)

        registry.always = fill_then_send
        body = {"model": f"http://{registry.host}/me/tiny", "insecure": True}
        last = lines(await standalone("POST", "/api/pull", body))[-1]
        name = f"{registry.host}/me/tiny:latest"
        assert reported(last["error"], models_dir).startswith(
            f"cannot write model '{name}' to the folder of the models: {FULL}"
        )
        response = await standalone("POST", "/api/pull", body | {"stream": False})
        assert response.code == 500
        assert FULL in reported(error(response), models_dir)
        disk.free()
        registry.always = None
        assert lines(await standalone("POST", "/api/pull", body))[-1] == {"status": "success"}


async def test_a_read_only_disk(standalone: Fetch, disk: Disk, models_dir: Path) -> None:
    text = b"some text"
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    assert (await standalone("POST", f"/api/blobs/{digest}", text)).code == 201
    disk.make_read_only()
    response = await standalone("POST", f"/api/blobs/{DIGEST}", DATA)
    assert response.code == 500
    assert "read-only file system. Mount it for writing" in reported(error(response), models_dir)
    with faulty_registry() as registry:
        registry.publish("me/tiny", b"weights")
        body = {"model": f"http://{registry.host}/me/tiny", "insecure": True, "stream": False}
        response = await standalone("POST", "/api/pull", body)
        assert response.code == 500
        assert "read-only file system" in reported(error(response), models_dir)
    assert (await standalone("HEAD", f"/api/blobs/{digest}")).code == 200
    assert json.loads((await standalone("GET", "/api/tags")).body) == {"models": []}


async def test_a_record_of_usage_on_a_full_disk(
    ollama_store: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    traits: dict[str, Any] = {"models_dir": str(ollama_store), "record_usage": True}
    usage_file = disk.path / "usage.sqlite"
    async with sharing(**traits, usage_file=str(usage_file)) as shared:
        ann = shared.user("ann")
        await answer(ann, "/api/generate", generate(stream=False))
        await asyncio.wait_for(wait_until(lambda: rows(usage_file) == 1), 20)
        disk.fill()
        if not disk.path.is_mount():
            for path in disk.path.glob("usage.sqlite*"):
                path.unlink()
            usage_file.symlink_to("/dev/full")
        with caplog.at_level(logging.ERROR, "jupyter_ollama"):
            for _ in range(200):
                body = {"model": "smollm2", "content": "x"}
                assert (await ann("POST", "/api/tokenize", body)).code == 200
                if "Usage is kept in memory" in caplog.text:
                    break
        assert "Usage is kept in memory" in caplog.text
        assert str(usage_file) in caplog.text


def rows(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        count: int = connection.execute("SELECT count(*) FROM usage").fetchone()[0]
        return count
