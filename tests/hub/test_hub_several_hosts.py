"""examples/jupyterhub/several-hosts: two endpoints are one service, and one of them gets lost."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from cli_process import free_port
from running_hub import EXAMPLES, SERVICE, Hub, running_hub
from streams import MODEL, NUMBERS, STORY, streaming

API = "/services/ollama/ollama"
HOSTS = ("gpu1", "gpu2")
BIG = 50_000
WHOLE = STORY | {"stream": False}


class Cluster:
    """Two endpoints behind HAProxy behind the Hub's proxy."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in HOSTS}
        self.client = hub.client(hub.token("alice"))

    def start(self, name: str) -> None:
        """Start an endpoint and wait for it."""
        address = self.addresses[name]
        command = ["jupyter-ollama", "hub", f"--hub-api={self.hub.hub}/hub/api"]
        environment = {"JUPYTERHUB_API_TOKEN": SERVICE, "OLLAMA_MODELS": str(self.hub.models)}
        self.hub.start(name, [*command, f"--listen={address}"], **environment)
        self.hub.wait_for(f"http://{address}{API}/api/version")

    def start_haproxy(self) -> None:
        """Start the load balancer."""
        config = (EXAMPLES / "several-hosts" / "haproxy.cfg").read_text(encoding="utf-8")
        config = self.hub.adapted(config)
        for name, there in zip(HOSTS, ("127.0.0.1:9001", "127.0.0.1:9002"), strict=True):
            config = config.replace(there, self.addresses[name])
        (self.hub.folder / "haproxy.cfg").write_text(config, encoding="utf-8")
        assert shutil.which("haproxy"), "these tests need HAProxy: apt-get install haproxy"
        token = self.hub.token("bob")
        command = ["haproxy", "-db", "-f", "haproxy.cfg"]
        self.hub.start("haproxy", command, OLLAMA_WATCH_TOKEN=token)
        self.hub.wait_for(f"{self.hub.url}{API}/api/version")

    def holders(self, model: str) -> list[str]:
        """Return the hosts that have a model in memory."""
        held = []
        for name, address in self.addresses.items():
            if name in self.hub.processes:
                answer = self.client.get(f"http://{address}{API}/api/ps").json()
                if f"{model}:latest" in [one["name"] for one in answer["models"]]:
                    held.append(name)
        return held

    def lose(self, name: str) -> None:
        """Lose a host with all that runs on it, at once."""
        process = psutil.Process(self.hub.processes.pop(name).pid)
        for one in [process, *process.children(recursive=True)]:
            one.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def cluster(hub_folder: Path, hub_models: Path) -> Iterator[Cluster]:
    with running_hub("external", hub_folder, hub_models) as hub:
        found = Cluster(hub)
        for name in HOSTS:
            found.start(name)
        found.start_haproxy()
        yield found
        found.client.close()


def unread(address: str) -> int:
    """Return the number of unread bytes of the listener at an address."""
    port = f":{int(address.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(row[4].partition(":")[2], 16) for row in rows if row[1].endswith(port))


def post(cluster: Cluster, path: str, body: dict[str, Any]) -> dict[str, Any]:
    end = time.monotonic() + 60
    while (answer := cluster.client.post(API + path, json=body)).status_code == 503:
        assert time.monotonic() < end, answer.text
        time.sleep(0.1)  # a host is back, and HAProxy has not looked yet
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_model_has_its_host_however_it_is_asked_for(cluster: Cluster) -> None:
    first = post(cluster, "/api/chat", WHOLE)
    (host,) = cluster.holders(MODEL)
    again = post(cluster, "/api/chat", WHOLE | {"model": "SmolLM2:latest"})
    other_api = {"model": MODEL, "messages": WHOLE["messages"], "max_tokens": 4}
    post(cluster, "/v1/chat/completions", other_api)
    assert cluster.holders(MODEL) == [host]
    assert first["message"] == again["message"]
    assert again["prompt_eval_cached_count"] > 0.8 * first["prompt_eval_count"]


def test_a_model_that_is_named_after_much_else_has_its_host(cluster: Cluster) -> None:
    (host,) = cluster.holders(MODEL)
    for _ in range(3):
        post(cluster, "/api/chat", {"left out": 2 * BIG * "x"} | WHOLE)
    assert cluster.holders(MODEL) == [host]


def test_waiting_requests_go_to_the_other_host(cluster: Cluster) -> None:
    (host,) = cluster.holders(MODEL)
    os.kill(cluster.hub.processes[host].pid, signal.SIGSTOP)  # it takes requests, and is silent
    answers: list[httpx2.Response] = []
    body = WHOLE | {"left out": BIG * "x"}
    ask = threading.Thread(
        target=lambda: answers.append(cluster.client.post(f"{API}/api/chat", json=body))
    )
    ask.start()
    while unread(cluster.addresses[host]) < BIG:
        time.sleep(0.01)
    cluster.lose(host)
    ask.join()
    assert answers[0].status_code == 200, answers[0].text
    assert answers[0].json()["eval_count"] == 4
    assert cluster.holders(MODEL) == [name for name in HOSTS if name != host]
    cluster.start(host)


def test_started_requests_end_with_their_host_and_are_not_repeated(cluster: Cluster) -> None:
    (host,) = cluster.holders(MODEL)
    # Past the Hub's proxy, which leaves the connections of its clients open when a server is lost.
    url = f"http://{cluster.hub.endpoint}{API}/api/chat"
    with streaming(cluster.client, url, NUMBERS) as (response, parts):
        assert response.status_code == 200
        assert next(parts)["message"]["content"]
        cluster.lose(host)
        rest: list[dict[str, Any]] = []
        with pytest.raises(httpx2.TransportError):
            rest.extend(parts)
        assert not any(part["done"] for part in rest)
    assert post(cluster, "/api/chat", WHOLE)["eval_count"] == 4
    cluster.start(host)


def test_a_drained_host_gets_nothing_new(cluster: Cluster) -> None:
    (host,) = cluster.holders(MODEL)
    with cluster.hub.client(cluster.hub.token("root")) as admin:
        address = f"http://{cluster.addresses[host]}{API}"
        assert admin.put(f"{address}/admin/drain").status_code == 200
        while (answer := cluster.client.post(f"{API}/api/chat", json=WHOLE)).status_code == 503:
            time.sleep(0.1)  # until HAProxy has looked
        assert answer.json()["eval_count"] == 4
        assert admin.put(f"{address}/admin/resume").status_code == 200
    assert len(cluster.holders(MODEL)) == 2
