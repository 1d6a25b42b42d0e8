"""examples/jupyterhub/external: the endpoint lives on its own, started by its systemd unit."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from running_hub import EXAMPLES, SERVICE, Hub, running_hub
from streams import STORY, numbers, streaming

API = "/services/ollama/ollama"
UNIT = EXAMPLES / "external" / "jupyter-ollama-hub.service"
CACHE_SECONDS = 1


@pytest.fixture(scope="module")
def hub(hub_folder: Path, hub_models: Path) -> Iterator[Hub]:
    with running_hub("external", hub_folder, hub_models) as running:
        unit = running.adapted(UNIT.read_text(encoding="utf-8"))
        environment = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
        (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
        arguments = [*command.split(), f"--HubOAuth.cache_max_age={CACHE_SECONDS}"]
        running.start("endpoint", arguments, JUPYTERHUB_API_TOKEN=SERVICE, **environment)
        running.wait_for(f"{running.url}{API}/api/version")
        yield running


def test_managers_are_those_of_the_unit(hub: Hub) -> None:
    copy = {"source": "smollm2", "destination": "mine"}
    for user, status in (("alice", 403), ("bob", 200)):
        answer = hub.ask("POST", f"{API}/api/copy", copy, hub.token(user))
        assert answer.status_code == status, answer.text


def test_a_removed_user_is_out_within_the_cache_time(hub: Hub) -> None:
    token = hub.token("alice")
    assert hub.ask("GET", f"{API}/api/tags", token=token).status_code == 200
    hub.api("DELETE", "/groups/ollama-users/users", {"users": ["alice"]})
    end = time.monotonic() + 20 * CACHE_SECONDS
    while (status := hub.ask("GET", f"{API}/api/tags", token=token).status_code) == 200:
        assert time.monotonic() < end, "still in"
        time.sleep(0.2)
    assert status == 403
    hub.api("POST", "/groups/ollama-users/users", {"users": ["alice"]})
    hub.wait_for(f"{hub.url}{API}/api/tags", token)


def test_a_stream_goes_on_while_the_hub_is_away(hub: Hub) -> None:
    with hub.client(hub.token("alice")) as alice:
        with streaming(alice, f"{API}/api/chat", numbers(200)) as (response, parts):
            assert response.status_code == 200
            assert next(parts)["message"]["content"]
            hub.stop("hub")
            stopped = datetime.now(UTC)
            while datetime.fromisoformat(next(parts)["created_at"]) < stopped:
                pass
            time.sleep(CACHE_SECONDS)
            answer = refused(alice)
            assert answer.status_code == 503
            assert answer.json() == {"error": "the JupyterHub does not answer, try again"}
            hub.start_hub()
            assert [*parts][-1]["done_reason"] == "stop"
        assert alice.post(f"{API}/api/chat", json=STORY).status_code == 200


def refused(client: httpx2.Client) -> httpx2.Response:
    """Return the answer to a request when the Hub's last word is forgotten."""
    while (answer := client.get(f"{API}/api/tags")).status_code == 200:
        time.sleep(0.1)
    return answer
