"""Blobs over HTTP: any size, verified, nothing half-written."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error, wait_until
from traitlets.config import Config

DATA = b"weights " * 100_000
HEX = hashlib.sha256(DATA).hexdigest()
DIGEST = f"sha256:{HEX}"


def blobs(models_dir: Path) -> list[str]:
    """Return the names of all files below the folder of blobs, unfinished ones too, no marks."""
    files = [path for path in (models_dir / "blobs").rglob("*") if path.is_file()]
    return sorted(path.name for path in files if path.suffix != ".loose")


async def test_a_blob_is_stored_once(either: Fetch, models_dir: Path) -> None:
    assert (await either("HEAD", f"/api/blobs/{DIGEST}")).code == 404
    response = await either("POST", f"/api/blobs/{DIGEST}", DATA)
    assert (response.code, response.body) == (201, b"")
    assert (models_dir / "blobs" / f"sha256-{HEX}").read_bytes() == DATA
    assert (await either("HEAD", f"/api/blobs/{DIGEST}")).code == 200
    assert (await either("HEAD", f"/api/blobs/sha256-{HEX}")).code == 200
    assert (await either("POST", f"/api/blobs/{DIGEST}", b"whatever")).code == 200
    assert (models_dir / "blobs" / f"sha256-{HEX}").read_bytes() == DATA


async def test_a_wrong_digest_leaves_nothing(either: Fetch, models_dir: Path) -> None:
    wanted = "sha256:" + "ab" * 32
    response = await either("POST", f"/api/blobs/{wanted}", DATA)
    assert response.code == 400
    assert error(response) == f'digest mismatch, expected "{wanted}", got "{DIGEST}"'
    assert blobs(models_dir) == []


@pytest.mark.parametrize(
    "digest",
    [
        "nope",
        "sha256:123",
        "sha256-..%2f..%2fevil",
        "%2e%2e%2f%2e%2e%2fevil",
        f"sha512:{HEX}",
        "...",
    ],
)
async def test_an_invalid_digest_is_refused(either: Fetch, models_dir: Path, digest: str) -> None:
    response = await either("POST", f"/api/blobs/{digest}", DATA)
    assert (response.code, error(response)) == (400, "invalid digest format")
    assert (await either("HEAD", f"/api/blobs/{digest}")).code == 400
    assert blobs(models_dir) == []


async def test_uploads_of_one_blob_at_once(either: Fetch, models_dir: Path) -> None:
    async def slowly(write: Callable[[bytes], Any]) -> None:
        for start in range(0, len(DATA), 100_000):
            await write(DATA[start : start + 100_000])
            await asyncio.sleep(0.005)

    posts = [either("POST", f"/api/blobs/{DIGEST}", body_producer=slowly) for _ in range(4)]
    codes = {response.code for response in await asyncio.gather(*posts)}
    assert codes <= {200, 201}
    assert blobs(models_dir) == [f"sha256-{HEX}"]


async def test_a_broken_upload_leaves_nothing(standalone_url: str, models_dir: Path) -> None:
    port = int(standalone_url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /api/blobs/{DIGEST} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(DATA)}"
    writer.write(head.encode() + b"\r\n\r\n" + DATA[:300_000])
    await writer.drain()
    await asyncio.wait_for(wait_until(lambda: bool(blobs(models_dir))), 10)
    writer.close()
    await asyncio.wait_for(wait_until(lambda: not blobs(models_dir)), 10)


class TestBeyondTheLimit:
    @pytest.fixture
    def jp_server_config(self, jp_server_config: Config) -> Config:
        jp_server_config.ServerApp.max_body_size = 1_000_000
        return jp_server_config

    @pytest.mark.parametrize("with_length", [True, False])
    async def test_a_blob_may_be_larger_than_the_server_takes_and_than_memory(
        self, jupyter: Fetch, models_dir: Path, with_length: bool
    ) -> None:
        chunk, count = bytes(range(256)) * 4096, 64
        hasher = hashlib.sha256()
        for _ in range(count):
            hasher.update(chunk)

        async def produce(write: Callable[[bytes], Any]) -> None:
            for _ in range(count):
                await write(chunk)

        headers = {"Content-Length": str(len(chunk) * count)} if with_length else {}
        tracemalloc.start()
        try:
            response = await jupyter(
                "POST",
                f"/api/blobs/sha256:{hasher.hexdigest()}",
                body_producer=produce,
                headers=headers,
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert response.code == 201
        size = (models_dir / "blobs" / f"sha256-{hasher.hexdigest()}").stat().st_size
        assert size == len(chunk) * count
        assert peak < size / 4
