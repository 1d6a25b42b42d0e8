"""Remote mode: a Jupyter server that passes calls on to a shared one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from api_client import Fetch, answer, chat, error, events, fetcher, generate, lines, wait_until
from tornado.simple_httpclient import HTTPStreamClosedError
from traitlets.config import Config

from jupyter_ollama.config import OllamaServer

NUMBERS = chat(
    options={"temperature": 0, "num_ctx": 2048},
    format={"type": "array", "items": {"type": "integer"}, "minItems": 500},
)
"""A request that runs for seconds, since the model may not stop before."""

MCP_SERVER = {
    "command": sys.executable,
    "args": [str(Path(__file__).parents[1] / "small_mcp_server.py")],
    "tools": ["add"],
}


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


@pytest.fixture
def shared_url(standalone_url: str) -> str:
    """The address of the shared server."""
    return standalone_url


@pytest.fixture
def jp_server_config(jp_server_config: Config, shared_url: str, tmp_path: Path) -> Config:
    jp_server_config.OllamaServer.remote_url = shared_url
    jp_server_config.OllamaServer.models_dir = str(tmp_path / "none")
    jp_server_config.OllamaServer.mount_root = True
    jp_server_config.OllamaServer.mcp_servers = {"small": MCP_SERVER}
    return jp_server_config


@asynccontextmanager
async def streaming(
    url: str, headers: dict[str, str], body: Any
) -> AsyncIterator[tuple[httpx2.Response, AsyncIterator[dict[str, Any]]]]:
    """Post a chat; yield the answer and the objects of its lines as they arrive."""

    async def parts(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
        async for line in response.aiter_lines():
            yield json.loads(line)

    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as client,
        client.stream("POST", f"{url}/api/chat", json=body) as response,
    ):
        yield response, parts(response)


async def test_answers_are_those_of_the_shared_server(
    jupyter: Fetch, standalone: Fetch, tmp_path: Path
) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("HEAD", "/api/version", None),
        ("GET", "/api/tags", None),
        ("POST", "/api/show", {"model": "smollm2"}),
        ("POST", "/api/show", {"model": "nobody"}),
        ("POST", "/api/show", b"{"),
        ("GET", "/v1/models/smollm2:latest", None),
        ("GET", "/v1/models/no%2Fbody", None),
        ("GET", "/openapi.json", None),
        ("POST", "/v1/embeddings", {"model": "all-minilm", "input": "Hello"}),
    ):
        here, there = await jupyter(method, path, body), await standalone(method, path, body)
        assert (here.code, here.body) == (there.code, there.body), path
        assert here.headers.get("Content-Type") == there.headers.get("Content-Type"), path
    assert not (tmp_path / "none").exists()


async def test_mcp_servers_are_those_of_the_users_own_server(
    jupyter: Fetch, standalone: Fetch
) -> None:
    (server,) = json.loads((await jupyter("GET", "/api/mcp")).body)["servers"]
    assert [tool["name"] for tool in server["tools"]] == ["add"]
    body = {"server": "small", "tool": "add", "arguments": {"a": 20, "b": 22}}
    assert (await answer(jupyter, "/api/mcp/call", body))["content"] == "42"
    assert json.loads((await standalone("GET", "/api/mcp")).body) == {"servers": []}


async def test_paths_without_the_prefix_are_passed_on(
    jupyter_url: str, jp_auth_header: dict[str, str]
) -> None:
    fetch = fetcher(jupyter_url, jp_auth_header)
    assert len(json.loads((await fetch("GET", "/api/tags")).body)["models"]) == 2


async def test_streams_arrive_part_by_part(
    jupyter_url: str, jp_auth_header: dict[str, str], ollama_server: OllamaServer, jupyter: Fetch
) -> None:
    headers = jp_auth_header | {"X-Request-Id": "numbers"}
    async with streaming(f"{jupyter_url}/ollama", headers, NUMBERS) as (response, parts):
        assert response.headers["content-type"] == "application/x-ndjson"
        assert response.headers["x-request-id"] == "numbers"
        assert (await anext(parts))["message"]["content"]
        assert ollama_server.requests_running == 1
        assert (await jupyter("DELETE", "/api/requests/numbers")).code == 200
        assert [part async for part in parts][-1] == {"error": "request canceled"}


async def test_events_and_vectors_keep_their_form(jupyter: Fetch) -> None:
    body = {"model": "smollm2", "prompt": "Once", "max_tokens": 3, "stream": True}
    assert events(await jupyter("POST", "/v1/completions", body))[-1] == {"done": True}
    found = await answer(
        jupyter, "/api/embed", {"model": "all-minilm", "input": "Hi", "encoding_format": "base64"}
    )
    (vector,) = (np.frombuffer(base64.b64decode(one), "<f4") for one in found["embeddings"])
    assert vector.shape == (384,)
    assert lines(await jupyter("POST", "/api/generate", generate()))[-1]["done"]


async def test_a_disconnect_is_passed_on(
    jupyter_url: str, jp_auth_header: dict[str, str], ollama_server: OllamaServer
) -> None:
    async with streaming(f"{jupyter_url}/ollama", jp_auth_header, NUMBERS) as (_, parts):
        await anext(parts)
        assert ollama_server.requests_running == 1
    await wait_until(lambda: ollama_server.requests_running == 0)


async def test_a_big_blob_goes_through(jupyter: Fetch, models_dir: Path) -> None:
    data = b"weights " * 1_000_000
    name = hashlib.sha256(data).hexdigest()
    assert (await jupyter("HEAD", f"/api/blobs/sha256:{name}")).code == 404
    assert (await jupyter("POST", f"/api/blobs/sha256:{name}", data)).code == 201
    assert (models_dir / "blobs" / f"sha256-{name}").read_bytes() == data


async def test_strangers_are_refused_here(jupyter_url: str, ollama_server: OllamaServer) -> None:
    stranger = fetcher(f"{jupyter_url}/ollama", {"Authorization": "Bearer wrong"})
    assert (await stranger("POST", "/api/chat", chat())).code == 403


async def test_an_answer_counts_as_activity(
    jupyter: Fetch, jp_serverapp: Any, jupyter_url: str
) -> None:
    before = jp_serverapp.web_app.settings["api_last_activity"] = "never"
    await jupyter("GET", "/api/tags")
    assert jp_serverapp.web_app.settings["api_last_activity"] == before
    await jupyter("POST", "/api/generate", generate())
    assert jp_serverapp.web_app.settings["api_last_activity"] != before


class Faulty:
    """A server that answers every request with the same bytes, then hangs up."""

    def __init__(self) -> None:
        self.says = b""
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        self.heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.says)
        await writer.drain()
        writer.close()


def page(status: str, kind: str, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + body


class TestFaults:
    @pytest.fixture
    def faulty(self) -> Faulty:
        return Faulty()

    @pytest.fixture
    def shared_url(self, faulty: Faulty, jp_asyncio_loop: Any) -> Any:
        start = asyncio.start_server(faulty.serve, "127.0.0.1", 0)
        server = jp_asyncio_loop.run_until_complete(start)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/services/ollama/ollama"
        server.close()

    async def test_a_proxys_page_becomes_an_error(self, jupyter: Fetch, faulty: Faulty) -> None:
        faulty.says = page("503 Service Unavailable", "text/html", b"<title>Oops</title>")
        response = await jupyter("POST", "/api/chat", chat())
        assert response.code == 503
        assert "answered 503 Service Unavailable with the HTML page" in error(response)

    async def test_a_login_page_is_not_followed(self, jupyter: Fetch, faulty: Faulty) -> None:
        faulty.says = b"HTTP/1.1 302 Found\r\nLocation: /hub/login\r\nContent-Length: 0\r\n\r\n"
        response = await jupyter("GET", "/api/tags")
        assert response.code == 502
        assert "/hub/login (the token is missing or not accepted)" in error(response)

    async def test_a_broken_stream_ends_with_an_error(self, jupyter: Fetch, faulty: Faulty) -> None:
        faulty.says = page("200 OK", "application/x-ndjson", b'{"n": 1}\n', 1000)
        first, last = lines(await jupyter("POST", "/api/chat", chat()))
        assert first == {"n": 1}
        assert "has broken off" in last["error"]

    async def test_a_broken_answer_is_an_error(self, jupyter: Fetch, faulty: Faulty) -> None:
        faulty.says = page("200 OK", "application/json", b'{"models": [', 1000)
        with pytest.raises(HTTPStreamClosedError):
            await jupyter("GET", "/api/tags")

    async def test_an_unreachable_server(
        self, jupyter: Fetch, faulty: Faulty, shared_url: str
    ) -> None:
        response = await jupyter("GET", "/api/tags")
        assert response.code == 502
        assert error(response).startswith(f"the shared server at {shared_url} cannot be reached")

    async def test_only_parts_of_the_api_are_passed_on(
        self, jupyter: Fetch, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "the-users-own")
        faulty.says = page("200 OK", "application/json", b"{}")
        sent = {"Cookie": "secret=1", "X-XSRFToken": "2", "Referer": "x", "X-Ollama-Priority": "3"}
        response = await jupyter("POST", "/api/chat?a=b", chat(), headers=sent)
        assert response.code == 200
        (head,) = faulty.heard
        first, *headers = head.decode().lower().split("\r\n")
        assert first == "post /services/ollama/ollama/api/chat?a=b http/1.1"
        names = {line.partition(":")[0]: line.partition(": ")[2] for line in headers if line}
        assert names["authorization"] == "bearer the-users-own"
        assert names["x-ollama-priority"] == "3"
        assert not {"cookie", "x-xsrftoken", "referer"} & {*names}


class TestLoop:
    @pytest.fixture
    def shared_url(self, jp_http_port: int, jp_base_url: str) -> str:
        return f"http://127.0.0.1:{jp_http_port}{jp_base_url.rstrip('/')}/ollama"

    async def test_an_address_that_leads_back_here_is_noticed(
        self, jupyter: Fetch, jp_auth_header: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = jp_auth_header["Authorization"].split()[-1]
        monkeypatch.setenv("JUPYTER_OLLAMA_TOKEN", token)
        response = await jupyter("GET", "/api/tags")
        assert response.code == 508
        assert "passes calls on, too" in error(response)
