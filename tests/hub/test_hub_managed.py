"""examples/jupyterhub/managed: the Hub starts the endpoint, its users share it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from real_kernel import Kernel
from run_notebook import Server, kernel
from running_hub import Hub, running_hub
from streams import MODEL, NUMBERS, STORY, streaming

API = "/services/ollama/ollama"


@pytest.fixture(scope="module")
def hub(hub_folder: Path, hub_models: Path) -> Iterator[Hub]:
    with running_hub("managed", hub_folder, hub_models) as running:
        running.wait_for(f"{running.url}{API}/api/version")
        yield running


@pytest.fixture(scope="module")
def alice(hub: Hub) -> Iterator[httpx2.Client]:
    """A member of the group that may run models."""
    with hub.client(hub.token("alice")) as client:
        yield client


@pytest.fixture(scope="module")
def bob(hub: Hub) -> Iterator[httpx2.Client]:
    """A member of the group that may change them, too."""
    with hub.client(hub.token("bob")) as client:
        yield client


def test_members_stream_token_by_token_under_their_own_names(
    hub: Hub, alice: httpx2.Client, bob: httpx2.Client
) -> None:
    path = f"{API}/api/chat"
    with streaming(alice, path, NUMBERS, **{"X-Request-Id": "numbers"}) as (response, parts):
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"] == "application/x-ndjson"
        assert next(parts)["message"]["content"]
        # The first part is here while the rest is still being written.
        (mine,) = alice.get(f"{API}/api/requests").json()["requests"]
        assert mine["id"] == "numbers"
        assert bob.get(f"{API}/api/requests").json()["requests"] == []
        assert bob.delete(f"{API}/api/requests/numbers").status_code == 404
        assert alice.delete(f"{API}/api/requests/numbers").status_code == 200
        assert [*parts][-1] == {"error": "request canceled"}
    for client, name, groups, manages in (
        (alice, "alice", ["ollama-users"], False),
        (bob, "bob", ["ollama-managers", "ollama-users"], True),
    ):
        usage = client.get(f"{API}/usage").json()
        assert (usage["user"], sorted(usage["groups"])) == (name, groups)
        assert usage["rights"] == {"run": True, "manage": manages, "admin": False}


def test_others_get_the_right_that_they_lack(hub: Hub) -> None:
    with hub.client(hub.token("carol")) as carol, hub.client(None) as anonymous:
        for client, text in (
            (carol, "the JupyterHub does not give access:services!service=ollama to user 'carol'"),
            (anonymous, "send the server's token"),
        ):
            for path in ("/api/chat", "/v1/chat/completions"):
                answer = client.post(API + path, json=STORY)
                error = answer.json()["error"]
                assert answer.status_code == 403
                assert (error if isinstance(error, str) else error["message"]).startswith(text)


CORE = [
    ("GET", "/api/contents"),
    ("PUT", "/api/contents/x.txt"),
    ("GET", "/files/x.txt"),
    ("GET", "/api/kernels"),
    ("POST", "/api/kernels"),
    ("GET", "/api/kernelspecs"),
    ("GET", "/api/sessions"),
    ("POST", "/api/sessions"),
    ("GET", "/api/terminals"),
    ("POST", "/api/terminals"),
    ("GET", "/terminals/websocket/1"),
    ("GET", "/api/config/x"),
    ("GET", "/api/status"),
    ("GET", "/api/events/subscribe"),
    ("POST", "/api/shutdown"),
    ("GET", "/nbconvert/html/x.ipynb"),
    ("GET", "/lab"),
    ("GET", "/tree"),
]
MANAGED = [
    ("POST", "/api/pull", {"model": "nobody-has-this", "stream": False}),
    ("POST", "/api/push", {"model": MODEL, "stream": False}),
    ("POST", "/api/create", {"model": "mine", "from": MODEL}),
    ("POST", "/api/copy", {"source": MODEL, "destination": "mine"}),
    ("DELETE", "/api/delete", {"model": MODEL}),
    ("POST", "/api/blobs/sha256:" + 64 * "0", {}),
]


def test_no_route_of_a_notebook_server_is_open(alice: httpx2.Client, bob: httpx2.Client) -> None:
    for client in (alice, bob):
        for method, path in CORE:
            answer = client.request(method, f"/services/ollama{path}", json={})
            assert answer.status_code in (403, 404), (method, path, answer.status_code)


def test_only_managers_change_models(alice: httpx2.Client, bob: httpx2.Client) -> None:
    for method, path, body in MANAGED:
        answer = alice.request(method, API + path, json=body)
        assert answer.status_code == 403, (path, answer.text)
        assert answer.json() == {"error": "user is not authorized to write on ollama:models"}
    copy = {"source": MODEL, "destination": "mine"}
    assert bob.post(f"{API}/api/copy", json=copy).status_code == 200
    names = [model["name"] for model in alice.get(f"{API}/api/tags").json()["models"]]
    assert "mine:latest" in names
    answer = bob.request("DELETE", f"{API}/api/delete", json={"model": "mine"})
    assert answer.status_code == 200
    assert bob.get(f"{API}/admin/requests").status_code == 403


@pytest.fixture(scope="module")
def server(hub: Hub) -> Iterator[Server]:
    """Alice's own server."""
    hub.start_server("alice")
    yield Server(f"{hub.url}/user/alice", hub.token("alice"))
    hub.stop_server("alice")


@pytest.fixture(scope="module")
def cell(server: Server) -> Iterator[Kernel]:
    with kernel(server, Path("notebook.ipynb")) as client:
        yield Kernel(None, client)


def text(messages: list[tuple[str, dict[str, Any]]]) -> str:
    """Return the output of a cell."""
    data = [content.get("data", {}) for _, content in messages]
    printed = "".join(content.get("text", "") for _, content in messages)
    return printed + "".join(
        one.get("text/plain", "") + one.get("text/markdown", "") for one in data
    )


def test_a_notebook_of_the_hub_chats_without_a_token(cell: Kernel) -> None:
    reply, _ = cell.run("%load_ext jupyter_ollama_magics")
    assert reply["status"] == "ok"
    reply, messages = cell.run(f"%%chat {MODEL} --num-predict 60 --temperature 0\nTell me a story.")
    assert reply["status"] == "ok", reply
    assert len([kind for kind, _ in messages if kind == "update_display_data"]) > 1
    reply, messages = cell.run(
        "import os\n"
        "from jupyter_ollama_client.discovery import discover\n"
        "print(discover().source, discover().client().call('GET', '/usage')['user'])"
    )
    assert text(messages).strip() == "JUPYTER_OLLAMA_URL alice"


def test_ollamas_own_client_needs_no_settings_in_a_notebook(cell: Kernel) -> None:
    code = "import ollama\nprint(sorted(m.model for m in ollama.list().models))"
    reply, messages = cell.run(code)
    assert text(messages).strip() == "['all-minilm:latest', 'smollm2:latest']", reply


def test_a_users_own_server_passes_calls_on_under_her_name(
    server: Server, alice: httpx2.Client
) -> None:
    own = "/user/alice/ollama"
    usage = alice.get(f"{own}/usage").json()
    assert usage["user"] == "alice"
    assert usage["rights"]["manage"] is False, "her own server would let her"
    path, id = f"{own}/api/chat", {"X-Request-Id": "through-two"}
    with streaming(alice, path, NUMBERS, **id) as (response, parts):
        assert response.headers["content-type"] == "application/x-ndjson"
        assert next(parts)["message"]["content"]
        (mine,) = alice.get(f"{API}/api/requests").json()["requests"]
        assert mine["id"] == "through-two"
        assert alice.delete(f"{own}/api/requests/through-two").status_code == 200
        assert [*parts][-1] == {"error": "request canceled"}
    completion = {"model": MODEL, "messages": STORY["messages"], "max_tokens": 4, "stream": True}
    answer = alice.post(f"{own}/v1/chat/completions", json=completion)
    assert answer.text.rstrip().endswith("data: [DONE]")
    answer = alice.request("DELETE", f"{own}/api/delete", json={"model": MODEL})
    assert (answer.status_code, answer.json()) == (
        403,
        {"error": "user is not authorized to write on ollama:models"},
    )
