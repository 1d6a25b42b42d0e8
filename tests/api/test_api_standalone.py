"""The stand-alone server: its address, its clients, and its errors for unknown paths."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from api_client import Fetch

from jupyter_ollama.api.listener import parse_host
from jupyter_ollama.api.origins import Origins, is_local_host
from jupyter_ollama.config import OllamaServer

FOREIGN = "https://example.com"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("127.0.0.1", 11434)),
        ("1.2.3.4", ("1.2.3.4", 11434)),
        ("1.2.3.4:99", ("1.2.3.4", 99)),
        (":99", ("127.0.0.1", 99)),
        ("0.0.0.0", ("0.0.0.0", 11434)),
        ("example.com:0", ("example.com", 0)),
        ("http://1.2.3.4", ("1.2.3.4", 80)),
        ("https://1.2.3.4", ("1.2.3.4", 443)),
        ("http://1.2.3.4:99/path/", ("1.2.3.4", 99)),
        ("1.2.3.4:99/path", ("1.2.3.4", 99)),
        ("[::1]:99", ("::1", 99)),
        ("[::1]", ("::1", 11434)),
        ("::1", ("::1", 11434)),
        (' "1.2.3.4:99" ', ("1.2.3.4", 99)),
        ("1.2.3.4:65536", ("1.2.3.4", 11434)),
        ("1.2.3.4:-1", ("1.2.3.4", 11434)),
        ("1.2.3.4:http", ("1.2.3.4", 11434)),
    ],
)
def test_forms_of_ollama_host(text: str, address: tuple[str, int]) -> None:
    assert parse_host(text) == address


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:11434",
        "127.0.0.1:11434",
        "[::1]:11434",
        "0.0.0.0",
        "192.168.1.7:80",
        "10.0.0.1",
        "box.local",
        "a.b.internal:1",
        "x.localhost",
        socket.gethostname().upper(),
    ],
)
def test_local_hosts(host: str) -> None:
    assert is_local_host(host)


@pytest.mark.parametrize(
    "host", ["example.com", "evil-localhost", "8.8.8.8:80", "localhost.evil.com"]
)
def test_foreign_hosts(host: str) -> None:
    assert not is_local_host(host)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "https://localhost:3000",
        "http://127.0.0.1:8888",
        "https://0.0.0.0",
        "app://obsidian.md",
        "file://",
        "tauri://localhost",
        "vscode-webview://abc",
        "vscode-file://vscode-app",
    ],
)
def test_origins_allowed_without_configuration(origin: str) -> None:
    assert Origins().allow(origin)


@pytest.mark.parametrize(
    "origin",
    [FOREIGN, "http://localhost.evil.com", "http://127.0.0.10", "null", "chrome-extension://abc"],
)
def test_origins_refused_without_configuration(origin: str) -> None:
    assert not Origins().allow(origin)


def test_configured_origins() -> None:
    origins = Origins(["chrome-extension://abc", "https://*.example.com"])
    assert origins.allow("chrome-extension://abc")
    assert origins.allow("https://a.example.com")
    assert not origins.allow("https://example.com")
    assert not origins.allow("https://a.example.com.evil.org")
    assert Origins(["*"]).allow(FOREIGN)


async def test_a_foreign_host_is_refused_on_loopback(standalone: Fetch) -> None:
    response = await standalone("GET", "/api/version", headers={"Host": "evil.com"})
    assert (response.code, response.body) == (403, b"")
    response = await standalone("GET", "/api/version", headers={"Host": "box.local"})
    assert response.code == 200


@pytest.mark.parametrize("path", ["/api/version", "/api/generate", "/nope"])
async def test_a_foreign_origin_is_refused_before_routing(standalone: Fetch, path: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        response = await standalone(method, path, headers={"Origin": FOREIGN})
        assert (response.code, response.body) == (403, b"")
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_an_allowed_origin_is_echoed_on_errors_too(standalone: Fetch) -> None:
    origin = {"Origin": "http://localhost:3000"}
    for method, path, code in (("GET", "/api/version", 200), ("POST", "/api/show", 400)):
        response = await standalone(method, path, headers=origin)
        assert response.code == code
        assert response.headers["Access-Control-Allow-Origin"] == origin["Origin"]
        assert response.headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_the_servers_own_origin_needs_no_cors(standalone: Fetch, standalone_url: str) -> None:
    response = await standalone("GET", "/api/version", headers={"Origin": standalone_url})
    assert response.code == 200
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_preflight(standalone: Fetch) -> None:
    response = await standalone("OPTIONS", "/api/chat", headers={"Origin": "app://obsidian.md"})
    assert (response.code, response.body) == (204, b"")
    methods = response.headers["Access-Control-Allow-Methods"].split(",")
    assert set(methods) == {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
    headers = response.headers["Access-Control-Allow-Headers"].lower().split(",")
    assert {"authorization", "content-type", "openai-beta", "x-stainless-retry-count"} <= set(
        headers
    )
    assert response.headers["Access-Control-Max-Age"] == "43200"


class TestEveryOrigin:
    @pytest.fixture
    def ollama_server(self, models_dir: Any) -> OllamaServer:
        return OllamaServer(models_dir=str(models_dir), origins=["*"])

    async def test_all_get_the_reason(self, standalone: Fetch) -> None:
        response = await standalone("GET", "/api/version", headers={"Origin": FOREIGN})
        assert (response.code, response.headers["Access-Control-Allow-Origin"]) == (200, "*")


async def test_unknown_paths_and_methods_get_plain_text(standalone: Fetch) -> None:
    response = await standalone("GET", "/api/nope")
    assert (response.code, response.body) == (404, b"404 page not found")
    assert response.headers["Content-Type"].startswith("text/plain")
    response = await standalone("GET", "/api/generate")
    assert (response.code, response.body) == (405, b"405 method not allowed")
    assert response.headers["Allow"] == "POST"
    response = await standalone("OPTIONS", "/api/tags")
    assert (response.code, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_heartbeat_and_version(standalone: Fetch) -> None:
    response = await standalone("GET", "/")
    assert (response.code, response.body) == (200, b"Ollama is running")
    response = await standalone("HEAD", "/")
    assert (response.code, response.body) == (200, b"")
    version = json.loads((await standalone("GET", "/api/version")).body)["version"]
    assert tuple(map(int, version.split("."))) >= (0, 6, 4)


@pytest.mark.parametrize("path", ["/api/generate", "/api/ps", "/api/show", "/api/create"])
async def test_head_exists_only_where_ollama_has_it(standalone: Fetch, path: str) -> None:
    assert (await standalone("HEAD", path)).code == 405
    assert (await standalone("HEAD", "/api/version")).code == 200
    assert (await standalone("HEAD", "/api/tags")).code == 200


async def test_a_slash_at_the_end_is_redirected(standalone: Fetch) -> None:
    response = await standalone("GET", "/api/tags/?a=b")
    assert (response.code, response.headers["Location"]) == (301, "/api/tags?a=b")
    response = await standalone("POST", "/api/show/", {"model": "m"})
    assert (response.code, response.headers["Location"]) == (307, "/api/show")
    assert (await standalone("GET", "/api/nope/")).code == 404


async def test_an_answer_before_the_body_ends_the_connection(standalone_url: str) -> None:
    host, port = standalone_url.removeprefix("http://").split(":")
    for path, status in (("/api/nothing", b"404"), ("/v1/responses/compact", b"404")):
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 5\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        assert status in answer
        assert b"connection: close" in answer.lower()
        writer.close()
