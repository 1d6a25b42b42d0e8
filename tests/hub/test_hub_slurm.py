"""examples/jupyterhub/slurm: the endpoint is a job of a real Slurm, its users wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from running_hub import Hub, running_hub
from slurm_cluster import Cluster, slurm_cluster
from streams import NUMBERS, STORY, streaming

from jupyter_ollama.hub.slurm.registration import read

API = "/services/ollama/ollama"
CHAT = f"{API}/api/chat"
SETTINGS = """
c.SlurmEndpoint.folder = {folder!r}
c.SlurmEndpoint.poll_seconds = 0.5
c.SlurmEndpoint.watch_seconds = 1
c.SlurmEndpoint.patience_seconds = 2
"""
FOR_TESTS = {"gpus=gpu:1": "gpus=", "limit=8:00:00": "limit=10", "minutes=15": "minutes=.1"}
"""No GPU, and an end after six idle seconds."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="module")
def hub(cluster: Cluster, hub_folder: Path, hub_models: Path) -> Iterator[Hub]:
    with running_hub(
        "slurm",
        hub_folder,
        hub_models,
        settings=SETTINGS.format(folder=str(hub_folder / "shared")),
        replaced=FOR_TESTS,
        SLURM_CONF=cluster.config,
    ) as running:
        running.wait_for(f"{running.url}{API}/api/version")
        yield running


@pytest.fixture(scope="module")
def alice(hub: Hub) -> Iterator[httpx2.Client]:
    with hub.client(hub.token("alice")) as client:
        yield client


def until(met: Callable[[], Any], seconds: float = 40.0) -> Any:
    """Return the first true value of ``met``."""
    end = time.monotonic() + seconds
    while not (value := met()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.2)
    return value


def front(hub: Hub) -> psutil.Process:
    """Return the process of the front."""
    children = psutil.Process(hub.processes["hub"].pid).children(recursive=True)
    return next(one for one in children if "--slurm" in one.cmdline())


def test_reading_starts_no_job(cluster: Cluster, alice: httpx2.Client) -> None:
    names = [one["name"] for one in alice.get(f"{API}/api/tags").json()["models"]]
    assert "smollm2:latest" in names
    assert alice.get(f"{API}/api/ps").json() == {"models": []}
    assert alice.get(f"{API}/usage").json()["user"] == "alice"
    assert alice.get(f"{API}/v1/batches").status_code == 503
    shown = alice.post(f"{API}/api/show", json={"model": "smollm2"})
    assert shown.status_code == 200, shown.text
    assert cluster.jobs() == []


def test_users_wait_with_their_place_until_the_job_serves(
    cluster: Cluster, hub: Hub, alice: httpx2.Client
) -> None:
    others = [cluster.occupy(), cluster.occupy()]
    with streaming(alice, CHAT, STORY | {"progress": True}) as (response, parts):
        assert response.status_code == 200
        states = [next(parts)]
        while states[-1].get("position") != 2:
            states.append(next(parts))
        assert states[-1]["status"] == "queued"
        assert "place 2 in the queue of models" in states[-1]["reason"]
        # One that does not ask for progress learns the same after its patience.
        refused = alice.post(CHAT, json=STORY)
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert "place 2 in the queue of models" in refused.json()["error"]
        cluster.cancel(*others)
        rest = [*parts]
    assert "loading" in {part.get("status") for part in rest}
    assert rest[-1]["done"], rest[-1]
    assert rest[-1]["eval_count"] == 4
    assert len(cluster.jobs("RUNNING")) == 1


def test_the_job_knows_its_users_by_their_own_tokens(hub: Hub, alice: httpx2.Client) -> None:
    answer = alice.post(CHAT, json=STORY, headers={"X-Ollama-Passed-On": "1"})
    assert answer.status_code == 200, "as from the server of a user"
    assert alice.post(CHAT, json=STORY, headers={"X-Ollama-Passed-On": "2"}).status_code == 508
    assert alice.get(f"{API}/usage").json()["user"] == "alice"
    for user, status in (("alice", 403), ("bob", 200)):
        copy = {"source": "smollm2", "destination": f"of-{user}"}
        assert hub.ask("POST", f"{API}/api/copy", copy, hub.token(user)).status_code == status
    assert hub.ask("POST", CHAT, STORY, hub.token("carol")).status_code == 403


def ready(cluster: Cluster, alice: httpx2.Client) -> list[int]:
    """Return the running job after an answer of it."""
    return cluster.jobs("RUNNING") if alice.post(CHAT, json=STORY).status_code == 200 else []


def is_there(alice: httpx2.Client) -> bool:
    """Return whether the front answers."""
    answer = alice.get(f"{API}/api/version")
    return answer.status_code == 200 and "json" in answer.headers["content-type"]


def test_a_cancelled_job_ends_streams_with_an_error_and_the_next_request_gets_another(
    cluster: Cluster, alice: httpx2.Client
) -> None:
    (job,) = until(lambda: ready(cluster, alice))
    with streaming(alice, CHAT, NUMBERS) as (response, parts):
        assert response.status_code == 200, response.read()
        assert next(parts)["message"]["content"]
        cluster.cancel(job)
        last = [*parts][-1]
    # Slurm sends the signal to the server and to the runner at once.
    assert last["error"].startswith(("model runner was ended by SIGTERM", f"Slurm job {job} has "))
    (other,) = until(lambda: ready(cluster, alice))
    assert other > job


def test_an_idle_job_ends_by_itself(cluster: Cluster, alice: httpx2.Client) -> None:
    (job,) = until(lambda: ready(cluster, alice))

    def has_ended() -> bool:
        # Pages ask for this all the time.
        assert alice.get(f"{API}/api/ps").status_code == 200
        return job in cluster.jobs("COMPLETED")

    until(has_ended)
    assert cluster.jobs() == []


def test_a_front_that_starts_anew_finds_the_job(
    cluster: Cluster, hub: Hub, alice: httpx2.Client
) -> None:
    before = until(lambda: ready(cluster, alice))
    (job,) = before
    address = read(hub.folder / "shared", job)
    assert address is not None
    gone = front(hub)
    command, environment = gone.cmdline(), gone.environ()
    gone.kill()
    until(lambda: not is_there(alice))
    with httpx2.Client(verify=address.trust(), headers=alice.headers) as direct:
        # The job does not depend on the front, and authenticates by itself.
        url = f"{address.url}ollama/api/chat"
        assert direct.post(url, json=STORY, headers={"Authorization": ""}).status_code == 403
        # The Hub would start it again within half a minute.
        hub.start("front", command, **environment)
        while not is_there(alice):
            assert direct.post(url, json=STORY).status_code == 200
            time.sleep(0.2)
    assert until(lambda: ready(cluster, alice)) == before
