"""Requests whose bodies are compressed."""

from __future__ import annotations

import gzip
import json
import sys

import pytest
from api_client import Fetch, error

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ASKED = b'{"model": "nope"}'
# The names of tests hold these bytes, so that no time may stand in them.
PACKED = {"gzip": gzip.compress(ASKED, mtime=0), "zstd": zstd.compress(ASKED), "identity": ASKED}
LIMIT = 100_000


@pytest.mark.parametrize("encoding", [*PACKED, " GZip", "ZSTD"])
async def test_bodies_are_unpacked(either: Fetch, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    body = PACKED[encoding.strip().lower()]
    response = await either("POST", "/api/show", body, headers=headers)
    assert (response.code, error(response)) == (404, "model 'nope:latest' not found")
    response = await either("POST", "/v1/responses", body, headers=headers)
    assert json.loads(response.body)["error"]["message"] == "model 'nope' not found"


@pytest.mark.parametrize(
    ("encoding", "body", "status", "message"),
    [
        ("br", ASKED, 400, "unsupported content encoding: br (must be gzip, zstd)"),
        ("gzip", ASKED, 400, "failed to decompress gzip body"),
        ("gzip", PACKED["gzip"][:-9], 400, "failed to decompress gzip body"),
        ("gzip", PACKED["gzip"][:10] + b"\xff" * 9, 400, "failed to decompress gzip body"),
        ("zstd", ASKED, 400, "failed to decompress zstd body"),
        ("zstd", PACKED["zstd"][:-3], 400, "failed to decompress zstd body"),
        ("gzip", gzip.compress(bytes(LIMIT + 1), mtime=0), 413, "http: request body too large"),
        ("zstd", zstd.compress(bytes(LIMIT + 1)), 413, "http: request body too large"),
    ],
)
async def test_bodies_that_cannot_be_unpacked(
    standalone: Fetch,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
    body: bytes,
    status: int,
    message: str,
) -> None:
    monkeypatch.setattr("jupyter_ollama.api.exchange.Exchange.max_json_body", LIMIT)
    headers = {"Content-Encoding": encoding}
    response = await standalone("POST", "/api/show", body, headers=headers)
    assert (response.code, error(response)) == (status, message)
