"""The API inside a Jupyter server: access, mount points, and activity."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from api_client import Fetch, error, fetcher, neighbour_error
from jupyter_server.auth import Authorizer
from jupyter_server.utils import JupyterServerAuthWarning
from traitlets.config import Config

from jupyter_ollama.api.routes import ROUTES

DIGEST = "sha256:" + "0" * 64
EXAMPLES = {"([^/]+)": DIGEST, "([A-Za-z0-9_.:-]+)": "job", r"\.": "."}
"""Values for the regular expressions of paths."""


def example(path: str) -> str:
    for expression, text in EXAMPLES.items():
        path = path.replace(expression, text)
    return path


CALLS = [
    (method, example(route.path), endpoint)
    for route in ROUTES
    for method, endpoint in route.methods.items()
]
RESOURCES = ("ollama", "ollama:run", "ollama:models", "ollama:web")


def body_for(method: str) -> bytes | None:
    return b"{}" if method in ("POST", "DELETE") else None


def test_every_path_of_the_api_is_routed() -> None:
    paths = {(method, path) for method, path, _ in CALLS}
    assert {
        ("HEAD", ""),
        ("GET", "/api/tags"),
        ("GET", "/api/ps"),
        ("GET", "/api/version"),
        ("POST", "/api/show"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/create"),
        ("HEAD", f"/api/blobs/{DIGEST}"),
        ("POST", f"/api/blobs/{DIGEST}"),
        ("POST", "/api/generate"),
        ("POST", "/api/chat"),
        ("POST", "/api/embed"),
        ("POST", "/api/embeddings"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/messages/count_tokens"),
    } <= paths


@pytest.mark.parametrize("strict", [True, False])
async def test_only_the_token_opens_any_route(
    jp_serverapp: Any,
    jupyter_url: str,
    jupyter: Fetch,
    strict: bool,
) -> None:
    jp_serverapp.web_app.settings["allow_unauthenticated_access"] = not strict
    anonymous = fetcher(jupyter_url + "/ollama", {})
    stranger = fetcher(jupyter_url + "/ollama", {"Authorization": "Bearer wrong"})
    for method, path, _ in [
        *CALLS,
        ("GET", "/nope", None),
        ("PUT", "/api/tags", None),
        ("GET", "/v1/nope", None),
    ]:
        for fetch in (anonymous, stranger):
            response = await fetch(method, path, body_for(method))
            assert response.code == 403, (method, path)
            if method != "HEAD":
                reported = neighbour_error if path.startswith("/v1/") else error
                assert reported(response).startswith("send the server's token")
        assert (await jupyter(method, path, body_for(method))).code != 403, (method, path)


async def test_bearer_tokens_are_accepted(jupyter_url: str, jp_auth_header: dict[str, str]) -> None:
    token = jp_auth_header["Authorization"].split()[-1]
    fetch = fetcher(jupyter_url + "/ollama", {"Authorization": f"Bearer {token}"})
    assert (await fetch("GET", "/api/version")).code == 200


async def test_the_token_may_be_where_anthropics_clients_put_it(
    jupyter_url: str, jp_auth_header: dict[str, str]
) -> None:
    token = jp_auth_header["Authorization"].split()[-1]
    wrong = {"X-Api-Key": "wrong"}
    for headers, code in (
        ({"X-Api-Key": token}, 200),
        (wrong, 403),
        (wrong | {"Authorization": f"Bearer {token}"}, 200),
        ({"X-Api-Key": token, "Authorization": "Bearer wrong"}, 403),
    ):
        response = await fetcher(jupyter_url + "/ollama", headers)("GET", "/v1/models")
        assert response.code == code, headers


async def test_a_blob_from_a_stranger_is_not_even_written(
    jupyter_url: str, models_dir: Any
) -> None:
    stranger = fetcher(jupyter_url + "/ollama", {})
    response = await stranger("POST", f"/api/blobs/{DIGEST}", b"x" * 100_000)
    assert response.code == 403
    assert not models_dir.exists()


async def test_a_cookie_alone_is_not_enough_to_change_things(
    jupyter_url: str, jp_auth_header: dict[str, str]
) -> None:
    token = jp_auth_header["Authorization"].split()[-1]
    anonymous = fetcher(jupyter_url, {})
    login = await anonymous("GET", f"/api/status?token={token}")
    cookies = "; ".join(c.split(";")[0] for c in login.headers.get_list("Set-Cookie"))
    page = await anonymous("GET", "/tree", headers={"Cookie": cookies})
    cookies += "".join(f"; {c.split(';')[0]}" for c in page.headers.get_list("Set-Cookie"))
    visitor = fetcher(jupyter_url + "/ollama", {"Cookie": cookies})
    assert (await visitor("GET", "/api/version")).code == 200
    response = await visitor("POST", "/api/show", {})
    assert response.code == 403
    assert "_xsrf" in error(response)
    xsrf = re.search(r"_xsrf=([^;]+)", cookies)
    assert xsrf
    response = await visitor("POST", "/api/show", {}, headers={"X-XSRFToken": xsrf[1]})
    assert (response.code, error(response)) == (400, "model is required")


class Gatekeeper(Authorizer):
    """Allows the calls that a test has set."""

    allowed: set[tuple[str, str]] = set()

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        return (action, resource) in self.allowed


class TestAuthorizer:
    @pytest.fixture
    def jp_server_config(self, jp_server_config: Config) -> Config:
        jp_server_config.ServerApp.authorizer_class = Gatekeeper
        return jp_server_config

    async def test_every_route_asks_for_its_own_right(
        self, jupyter: Fetch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for resource in RESOURCES:
            for action in ("read", "write", "execute"):
                monkeypatch.setattr(Gatekeeper, "allowed", {(action, resource)})
                for method, path, endpoint in CALLS:
                    response = await jupyter(method, path, body_for(method))
                    right = (endpoint.action, endpoint.resource) == (action, resource)
                    assert (response.code != 403) == right, (method, path, action, resource)

    async def test_students_may_run_models_and_not_change_them(
        self, jupyter: Fetch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rights = {("read", "ollama"), ("execute", "ollama:run")}
        monkeypatch.setattr(Gatekeeper, "allowed", rights)
        for path in ("/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/api/show"):
            assert (await jupyter("POST", path, {})).code in (400, 404)
        for method, path in (
            ("POST", "/api/create"),
            ("POST", "/api/copy"),
            ("DELETE", "/api/delete"),
            ("POST", f"/api/blobs/{DIGEST}"),
        ):
            response = await jupyter(method, path, {})
            assert response.code == 403
            assert error(response) == "user is not authorized to write on ollama:models"


def test_no_handler_is_left_undecorated(jp_configurable_serverapp: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jp_configurable_serverapp()
    undecorated = [w for w in caught if issubclass(w.category, JupyterServerAuthWarning)]
    assert not [w for w in undecorated if "ollama" in str(w.message)]


async def test_heartbeat_with_and_without_slash(jupyter: Fetch) -> None:
    for path in ("", "/"):
        response = await jupyter("GET", path)
        assert (response.code, response.body) == (200, b"Ollama is running")
        assert (await jupyter("HEAD", path)).code == 200


async def test_unknown_paths_and_methods(jupyter: Fetch) -> None:
    response = await jupyter("GET", "/api/nope")
    assert (response.code, error(response)) == (404, "404 page not found")
    response = await jupyter("GET", "/api/chat")
    assert (response.code, error(response)) == (405, "405 method not allowed")
    assert response.headers["Allow"] == "POST"


async def test_redirects_keep_the_base_url(jupyter: Fetch, jp_base_url: str) -> None:
    response = await jupyter("GET", "/api/tags/")
    assert response.code == 301
    assert response.headers["Location"] == f"{jp_base_url}ollama/api/tags"


async def test_a_browser_may_ask_first(jupyter_url: str) -> None:
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "POST"}
    response = await fetcher(jupyter_url, headers)("OPTIONS", "/ollama/api/chat")
    assert response.code in (200, 204)
    assert "authorization" in response.headers["Access-Control-Allow-Headers"]


async def test_the_root_is_left_alone(jupyter_url: str, jp_auth_header: dict[str, str]) -> None:
    fetch = fetcher(jupyter_url, jp_auth_header)
    for path in ("/api/version", "/api/tags"):
        assert (await fetch("GET", path)).code == 404


class TestMountRoot:
    @pytest.fixture
    def jp_server_config(self, jp_server_config: Config) -> Config:
        jp_server_config.OllamaServer.mount_root = True
        jp_server_config.OllamaServer.url_prefix = "llm/ollama/"
        return jp_server_config

    async def test_bare_paths_work_and_shadow_nothing(
        self, jupyter_url: str, jp_auth_header: dict[str, str]
    ) -> None:
        fetch = fetcher(jupyter_url, jp_auth_header)
        for path in ("/api/version", "/llm/ollama/api/version"):
            assert "version" in json.loads((await fetch("GET", path)).body)
        assert "kernels" in json.loads((await fetch("GET", "/api/status")).body)
        assert "identity" in json.loads((await fetch("GET", "/api/me")).body)
        assert json.loads((await fetch("GET", "/api/contents")).body)["type"] == "directory"
        assert (await fetch("GET", "/ollama")).code == 404
        assert (await fetch("GET", "/api/nope")).code == 404
        assert (await fetch("POST", "/api/tags/", {})).code == 405


async def test_asking_for_the_state_is_not_activity(jupyter: Fetch, jp_web_app: Any) -> None:
    settings = jp_web_app.settings
    settings["api_last_activity"] = before = settings["started"]
    await jupyter("GET", "/api/version")
    await jupyter("GET", "/api/tags")
    await jupyter("GET", "/api/ps")
    await jupyter("POST", "/api/show", {"model": "nope"})
    assert settings["api_last_activity"] == before
    await jupyter("POST", "/api/generate", {"model": "nope"})
    assert settings["api_last_activity"] > before


class TestSmallServer:
    @pytest.fixture
    def jp_server_config(self, jp_server_config: Config) -> Config:
        jp_server_config.ServerApp.max_body_size = 100_000
        return jp_server_config

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_the_limit_of_the_server_holds_for_json(
        self, jupyter: Fetch, chunked: bool
    ) -> None:
        async def produce(write: Callable[[bytes], Any]) -> None:
            for _ in range(20):
                await write(b" " * 10_000)

        body = {"body_producer": produce} if chunked else {"body": b" " * 200_000}
        response = await jupyter("POST", "/api/show", **body)
        assert (response.code, error(response)) == (413, "http: request body too large")
