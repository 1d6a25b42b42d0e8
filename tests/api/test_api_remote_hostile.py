"""Remote mode: paths, queries and headers of clients cannot reach beyond the API."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error
from tornado import web
from tornado.httpserver import HTTPServer
from traitlets.config import Config

from jupyter_ollama.api.routes import ROUTES

ROOT = "/services/ollama/ollama"


class Shared(web.RequestHandler):
    """Records its requests, and answers as a shared server should not."""

    asked: list[tuple[str, str, dict[str, str]]] = []
    kind = "application/json"

    def check_xsrf_cookie(self) -> None:
        pass

    def get(self) -> None:
        headers = {name.lower(): value for name, value in self.request.headers.get_all()}
        self.asked.append((self.request.method or "", self.request.uri or "", headers))
        self.set_header("Content-Type", self.kind)
        self.set_header("Location", "https://evil.example/")
        self.set_header("WWW-Authenticate", 'Basic realm="Jupyter"')
        self.set_header("Clear-Site-Data", '"*"')
        self.set_header("X-Ollama-Truncated", "3")
        self.set_cookie("stolen", "1")
        self.write("<script>1</script>" if "ml" in self.kind else "{}")

    head = post = delete = put = get


@pytest.fixture
def jp_server_config(jp_server_config: Config, jp_asyncio_loop: Any, tmp_path: Path) -> Any:
    Shared.asked.clear()
    Shared.kind = "application/json"
    app = web.Application([("/.*", Shared)], log_function=lambda handler: None)

    async def start() -> HTTPServer:
        server = HTTPServer(app)
        server.listen(0, "127.0.0.1")
        return server

    server = jp_asyncio_loop.run_until_complete(start())
    port = next(iter(server._sockets.values())).getsockname()[1]
    jp_server_config.OllamaServer.remote_url = f"http://127.0.0.1:{port}{ROOT}"
    yield jp_server_config
    server.stop()
    jp_asyncio_loop.run_until_complete(server.close_all_connections())


async def raw(url: str, token: dict[str, str], method: str, target: str, *headers: str) -> str:
    """Send a request line as it is; return the head of the answer."""
    host, port = url.removeprefix("http://").split("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}:{port}", "Connection: close"]
    lines += [f"Authorization: {token['Authorization']}", "Content-Length: 0", *headers]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    writer.close()
    return head.decode("latin-1")


TRICKS = [
    *("..", ".", "%2e%2e", "%2E%2e", "..%2f..%2fhub%2fapi", "../../../../hub/api/users"),
    *("%2e%2e/%2e%2e/%2e%2e/hub/api", "..%5c..%5chub", "..\\..\\hub", "x\\..\\..", "..;/hub"),
    *("..;x=y/hub", "a;b", "a%00b", "%00", "a%0d%0aX:y", "a%0ab", "%252e%252e%252f", "a%25b"),
    *("a//b", "a%2f%2fb", "%2fhub%2fapi", "a/./b", "a/../b", "a%2f..%2fb", "a?b%23", "a%3fb"),
    *(
        "a%23b",
        "a%20b",
        "http:%2f%2fevil.example",
        "//evil.example/a",
        "@evil.example%2f..",
        "a%c3",
    ),
]
PREFIXES = [
    "GET /v1/models/",
    "HEAD /api/blobs/",
    "DELETE /api/requests/",
    "DELETE /api/user/keys/",
]


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_no_path_leaves_the_api(
    jupyter_url: str, jp_auth_header: dict[str, str], jp_base_url: str, prefix: str
) -> None:
    method, _, path = prefix.partition(" ")
    for trick in TRICKS:
        target = f"{jp_base_url}ollama{path}{trick}"
        head = await raw(jupyter_url, jp_auth_header, method, target)
        status = int(head.split()[1])
        assert status < 500, (target, head)
        for _, uri, _ in Shared.asked:
            asked = uri.partition("?")[0]
            assert asked.startswith(ROOT + path), (target, uri)
            assert not {"..", ".", ""} & {*asked.split("/")[1:]}, (target, uri)
            assert not set("\\;%#@ ") & {*asked}, (target, uri)
        Shared.asked.clear()


@pytest.mark.parametrize(
    "target",
    [
        "/../hub/api",
        "/%2e%2e/hub/api",
        "//hub/api",
        "/..;/hub",
        "/api/../../hub",
        "/\\evil.example//",
    ],
)
async def test_unknown_routes_are_not_passed_on(
    jupyter_url: str, jp_auth_header: dict[str, str], jp_base_url: str, target: str
) -> None:
    head = await raw(jupyter_url, jp_auth_header, "GET", f"{jp_base_url}ollama{target}")
    assert 300 <= int(head.split()[1]) < 500, head
    assert "location: //" not in head.lower()
    assert Shared.asked == []


async def test_names_are_passed_on(jupyter: Fetch) -> None:
    for path, asked in (
        ("/v1/models/hf.co/me/model:Q4_K_M", "/v1/models/hf.co/me/model:Q4_K_M"),
        ("/v1/models/hf.co%2Fme%2Fmodel%3A1b/", "/v1/models/hf.co/me/model:1b"),
        ("/openapi.yaml", "/openapi.yaml"),
        ("/api/tags?a=b&c=", "/api/tags?a=b&c="),
    ):
        answer = await jupyter("GET", path)
        if answer.code in (301, 307):
            answer = await jupyter("GET", answer.headers["Location"].partition("/ollama")[2])
        assert answer.code == 200, path
        assert Shared.asked.pop()[1] == ROOT + asked


async def test_every_route_leads_to_itself(jupyter: Fetch) -> None:
    for route in ROUTES:
        if route.path.startswith("/api/mcp"):  # the tools are those of the user's own server
            continue
        path = route.path.replace("\\.", ".")
        for group in ("([^/]+)", "([A-Za-z0-9_.:-]+)", "(.+?)"):
            path = path.replace(group, "name")
        for method in route.methods:
            answer = await jupyter(method, path)
            assert answer.code == 200, (method, path)
            assert Shared.asked.pop()[:2] == (method, ROOT + path)


async def test_credentials_go_neither_way(
    jupyter_url: str, jp_auth_header: dict[str, str], jp_base_url: str, monkeypatch: Any
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "the-users-own")
    secret = jp_auth_header["Authorization"].split()[-1]
    query = f"token={secret}&_xsrf=2|{secret}&a=b&access_token={secret}&Token={secret}"
    sent = [
        *(f"Cookie: username=x; _xsrf={secret}", f"X-XSRFToken: {secret}", f"X-Api-Key: {secret}"),
        *(f"Proxy-Authorization: Basic {secret}", "X-Forwarded-For: 1.2.3.4", "X-Real-Ip: 1.2.3.4"),
        *("X-Forwarded-Host: evil.example", "Forwarded: for=1.2.3.4", "TE: trailers"),
        *("Upgrade: websocket", "Keep-Alive: 1", "X-Http-Method-Override: DELETE", "Origin: null"),
        "Referer: http://here/?token=" + secret,
    ]
    for _ in range(2):
        target = f"{jp_base_url}ollama/api/tags?{query}"
        head = await raw(jupyter_url, jp_auth_header, "GET", target, *sent)
        assert head.startswith("HTTP/1.1 200"), head
        method, uri, headers = Shared.asked.pop()
        assert (method, uri) == ("GET", f"{ROOT}/api/tags?a=b")
        assert secret not in str(headers)
        assert headers["authorization"] == "Bearer the-users-own"
        allowed = {"host", "accept", "accept-encoding", "authorization", "connection", "user-agent"}
        assert {*headers} <= {*allowed, "x-ollama-passed-on"}
        lower = head.lower()
        assert "x-ollama-truncated: 3" in lower
        for name in ("location", "www-authenticate", "clear-site-data", "stolen"):
            assert name not in lower


@pytest.mark.parametrize(
    "kind", ["text/html", "TEXT/HTML; charset=utf-8", "image/svg+xml", "text/xml"]
)
async def test_no_page_is_passed_back(jupyter: Fetch, kind: str) -> None:
    Shared.kind = kind
    answer = await jupyter("GET", "/api/tags")
    assert answer.code == 502
    assert "Ollama server" in error(answer)
    assert json.loads(answer.body)
