"""examples/jupyterhub/shared-server: the endpoint is the server of a user of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_hub import Hub, running_hub
from streams import STORY

API = "/user/gpubot/ollama"


@pytest.fixture(scope="module")
def hub(hub_folder: Path, hub_models: Path) -> Iterator[Hub]:
    with running_hub("shared-server", hub_folder, hub_models) as running:
        running.start_server("gpubot")
        yield running
        running.stop_server("gpubot")


def test_members_run_models_under_their_own_names(hub: Hub) -> None:
    token = hub.token("alice")
    answer = hub.ask("POST", f"{API}/api/chat", STORY | {"stream": False}, token)
    assert answer.json()["eval_count"] == 4
    assert hub.ask("GET", f"{API}/usage", token=token).json()["user"] == "alice"
    for method, path in (("POST", "/api/kernels"), ("GET", "/api/contents"), ("GET", "/lab")):
        assert hub.ask(method, f"/user/gpubot{path}", {}, token).status_code in (403, 404)
    assert hub.ask("DELETE", f"{API}/api/delete", {"model": "smollm2"}, token).status_code == 403


def test_others_do_not_get_in(hub: Hub) -> None:
    answer = hub.ask("POST", f"{API}/api/chat", STORY, hub.token("carol"))
    assert answer.status_code == 403
    assert "user 'carol'" in answer.json()["error"]


def test_a_notebooks_token_is_enough(hub: Hub) -> None:
    token = hub.api(
        "POST",
        "/users/alice/tokens",
        {"scopes": ["users:activity!user=alice", "access:servers!user=gpubot"]},
    )["token"]
    assert hub.ask("GET", f"{API}/api/tags", token=token).status_code == 200
