"""A stand-alone server that other machines reach: by which names, and with which token."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error, fetcher, neighbour_error

from jupyter_ollama.api.listener import listen
from jupyter_ollama.api.origins import Hosts
from jupyter_ollama.api.routes import ROUTES
from jupyter_ollama.config import OllamaServer

REBOUND = "evil.example.com:11434"
"""A domain of an attacker, which has been pointed at the server."""


@asynccontextmanager
async def listening(host: str, folder: Path, **traits: Any) -> AsyncIterator[Fetch]:
    """Run a server; the function that fetches from it takes the Host header."""
    server = OllamaServer(models_dir=str(folder), **traits)
    http_server = listen(server, host)
    port = next(iter(http_server._sockets.values())).getsockname()[1]
    try:
        yield fetcher(f"http://127.0.0.1:{port}", {})
    finally:
        http_server.stop()
        await http_server.close_all_connections()
        await server.stop()


async def codes(fetch: Fetch, *hosts: str, **headers: str) -> list[int]:
    """Return the statuses for Host headers, without and with the Origin of a page there."""
    found = []
    for host in hosts:
        for more in ({}, {"Origin": f"http://{host}"}):
            given = headers | {"Host": host} | more
            found.append((await fetch("GET", "/api/version", headers=given)).code)
    return found


async def test_rebound_domains_are_refused_beyond_loopback(tmp_path: Path) -> None:
    async with listening("0.0.0.0:0", tmp_path) as fetch:
        for host in (REBOUND, "evil.example.com.", "127.0.0.1.evil.com", "ollama.evil.com", "a.b"):
            assert await codes(fetch, host) == [403, 403], host
        answer = await fetch("GET", "/api/tags", headers={"Host": REBOUND})
        assert error(answer) == (
            f'"{REBOUND}" is not a name of this server: set OLLAMA_ALLOWED_HOSTS '
            "(OllamaServer.allowed_hosts) to the names that it is reached by"
        )
        answer = await fetch("GET", "/v1/models", headers={"Host": REBOUND})
        assert "OLLAMA_ALLOWED_HOSTS" in neighbour_error(answer)
        known = ["127.0.0.1:80", "8.8.8.8", "[2606::1]:80", "gpu:11434", "box.local", "nas.lan"]
        assert await codes(fetch, *known) == [200] * 12


async def test_no_route_answers_a_rebound_domain(tmp_path: Path) -> None:
    async with listening("0.0.0.0:0", tmp_path) as fetch:
        for route in ROUTES:
            for method in route.methods or ("GET",):
                path = route.path.replace("\\", "").split("(")[0]
                answer = await fetch(method, path or "/", headers={"Host": REBOUND})
                assert answer.code == 403, (method, path)


async def test_allowed_hosts(tmp_path: Path) -> None:
    names = ["gpu.example.org", "*.lab.example.org"]
    for host in ("0.0.0.0:0", "127.0.0.1:0"):
        async with listening(host, tmp_path, allowed_hosts=names) as fetch:
            allowed = ["GPU.example.org:11434", "gpu.example.org.", "a.lab.example.org"]
            assert await codes(fetch, *allowed) == [200] * 6
            refused = [REBOUND, "lab.example.org", "gpu.example.org.evil.com", "xgpu.example.org"]
            assert await codes(fetch, *refused) == [403] * 8


@pytest.mark.parametrize("host", ["0.0.0.0:0", "127.0.0.1:0"])
async def test_the_way_of_ollama(tmp_path: Path, host: str) -> None:
    async with listening(host, tmp_path, allowed_hosts=["*"]) as fetch:
        assert await codes(fetch, REBOUND) == [200, 200]


async def test_an_access_token(tmp_path: Path) -> None:
    async with listening("0.0.0.0:0", tmp_path, access_token="sesame") as fetch:
        for headers in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic sesame"}):
            answer = await fetch("GET", "/api/tags", headers=headers)
            assert answer.code == 403
            assert "Authorization: Bearer" in error(answer)
        for route in ROUTES:
            for method in route.methods:
                path = route.path.replace("\\", "").split("(")[0]
                assert (await fetch(method, path or "/")).code == 403, (method, path)
        assert (await fetch("GET", "/api/tags?token=sesame")).code == 403
        right = {"Authorization": "Bearer sesame"}
        assert await codes(fetch, "127.0.0.1", "gpu.example.org", **right) == [200] * 4
        assert (await fetch("GET", "/api/tags", headers={"X-Api-Key": "sesame"})).code == 200
        preflight = {"Origin": "http://localhost:3000"}
        assert (await fetch("OPTIONS", "/api/tags", headers=preflight)).code == 204
    async with listening("127.0.0.1:0", tmp_path, access_token="sesame") as fetch:
        assert (await fetch("GET", "/api/tags")).code == 403
        assert await codes(fetch, "localhost", **right) == [200, 200]
        assert await codes(fetch, REBOUND, **right) == [403, 403]


@pytest.mark.parametrize(
    ("traits", "said", "unsaid"),
    [
        ({}, "OLLAMA_ALLOWED_HOSTS=gpu.example.org", ""),
        ({}, "OLLAMA_ACCESS_TOKEN=", ""),
        ({}, "OLLAMA_ALLOWED_HOSTS=* ", ""),
        ({"allowed_hosts": ["*"]}, "Every Host header is accepted", "OLLAMA_ALLOWED_HOSTS"),
        ({"access_token": "x"}, "for clients that send the access token", "every machine"),
    ],
)
async def test_what_is_logged(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    traits: dict[str, Any],
    said: str,
    unsaid: str,
) -> None:
    with caplog.at_level(logging.INFO, "jupyter_ollama"):
        async with listening("0.0.0.0:0", tmp_path, **traits):
            pass
    assert said in caplog.text
    assert not unsaid or unsaid not in caplog.text
    if "access_token" not in traits:
        assert "every machine that reaches it may use the models" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "jupyter_ollama"):
        async with listening("127.0.0.1:0", tmp_path, **traits):
            pass
    assert "Listening" not in caplog.text


@pytest.mark.parametrize(
    "header",
    [
        "[::1].evil.com",
        "[::1]evil.com",
        "1.2.3.4:80.evil.com",
        "localhost:x",
        "evil.com:80:90",
        "a b",
    ],
)
def test_malformed_hosts(header: str) -> None:
    assert not Hosts([], beyond_loopback=True).allow(header)


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_ALLOWED_HOSTS", "a.example.org, b.example.org")
    monkeypatch.setenv("OLLAMA_ACCESS_TOKEN", "sesame")
    server = OllamaServer()
    assert server.allowed_hosts == ["a.example.org", "b.example.org"]
    assert server.access_token == "sesame"
