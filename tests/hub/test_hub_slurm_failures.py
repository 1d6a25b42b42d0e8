"""Jobs of an endpoint that fail, at a real Slurm: the reason is shown, and no flood of jobs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slurm_cluster import Cluster, slurm_cluster

from jupyter_ollama.hub.slurm.commands import SlurmCommands
from jupyter_ollama.hub.slurm.endpoint_job import EndpointJob
from jupyter_ollama.hub.slurm.launch import Launch, launch
from jupyter_ollama.hub.slurm.registration import prepare
from jupyter_ollama.hub.slurm.settings import SlurmEndpoint
from jupyter_ollama.scheduler.limits import LimitReached


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(autouse=True)
def slurm_conf(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", cluster.config)


def endpoint_job(folder: Path, script: str, **settings: Any) -> EndpointJob:
    """Return the job of an endpoint whose job runs a script."""
    program = folder / "endpoint.sh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    given = {"gpus": "", "poll_seconds": 0.3, "retry_seconds": 2.0} | settings
    made = SlurmEndpoint(folder=str(folder / "shared"), job_command=[str(program)], **given)
    prepare(Path(made.folder))
    return EndpointJob(made, SlurmCommands(made), Launch((str(program),), os.environ))


async def refusal(job: EndpointJob) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        await job.serving(None, 30)
    return caught.value


def test_a_job_that_fails_at_once_is_explained_and_not_submitted_again_at_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    async def run() -> tuple[list[LimitReached], list[float]]:
        job = endpoint_job(tmp_path, "echo 'no such module: cuda' >&2\nexit 3", retry_seconds=6.0)
        try:
            errors = [await refusal(job)]
            errors.append(await refusal(job))
            assert len(cluster.jobs("FAILED")) == 1, "one job for both"
            waits = [errors[-1].retry_after]
            await asyncio.sleep(6.1)
            errors.append(await refusal(job))
            waits.append(errors[-1].retry_after)
            return errors, waits
        finally:
            await job.close()

    errors, waits = asyncio.run(run())
    assert {error.status for error in errors} == {503}
    for error in errors:
        assert "has failed: FAILED (NonZeroExitCode)" in error.message
        assert error.message.endswith("Its log ends with: no such module: cuda")
    assert len(cluster.jobs("FAILED")) == 2
    assert 1 <= waits[0] <= 6 < waits[1] <= 12, "twice as long after the second failure"


def test_a_submission_that_slurm_refuses_has_its_reason(tmp_path: Path) -> None:
    async def run() -> str:
        job = endpoint_job(tmp_path, "true", options=["--partition=none"])
        try:
            return (await refusal(job)).message
        finally:
            await job.close()

    message = asyncio.run(run())
    assert message.startswith("the endpoint's job cannot be submitted: sbatch: ")
    assert "invalid partition specified: none" in message


def test_a_job_that_never_registers_is_cancelled(cluster: Cluster, tmp_path: Path) -> None:
    async def run() -> str:
        job = endpoint_job(tmp_path, "sleep 600", start_seconds=1.0)
        try:
            return (await refusal(job)).message
        finally:
            await job.close()

    assert "has no address after 1 s" in asyncio.run(run())
    end = time.monotonic() + 20
    while cluster.jobs():
        assert time.monotonic() < end
        time.sleep(0.2)


def test_the_waiting_are_bounded_and_slurm_may_be_away(cluster: Cluster, tmp_path: Path) -> None:
    async def run() -> list[LimitReached]:
        away = {"queue_command": ["/nowhere/squeue"]}
        job = endpoint_job(tmp_path, "true", max_waiting=1, **away)
        try:
            first = asyncio.create_task(_caught(job, 3))
            await asyncio.sleep(1.5)
            return [await _caught(job, 3), await first]
        finally:
            await job.close()

    second, first = asyncio.run(run())
    assert second.message.startswith("too many requests wait: Slurm does not answer")
    assert first.message.startswith("Slurm does not answer: squeue cannot be run")
    assert {first.status, second.status} == {503}
    assert cluster.jobs() == []


async def _caught(job: EndpointJob, patience: float) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        await job.serving(None, patience)
    return caught.value


def test_the_folder_must_be_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    with pytest.raises(PermissionError, match="closed to others"):
        prepare(folder)


def test_a_job_gets_the_settings_of_its_front_but_not_its_addresses() -> None:
    hub_api = "http://hub.cluster:8081/hub/api"
    settings = SlurmEndpoint(folder="/shared", idle_minutes=7.5, hub_api=hub_api)
    front = {"JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:9999", "JUPYTERHUB_API_TOKEN": "t"}
    front |= {"JUPYTERHUB_API_URL": "http://127.0.0.1:8081/hub/api"}
    front |= {"SLURM_CONF": "/etc/slurm.conf", "SLURM_JOB_ID": "1", "SBATCH_EXPORT": "NONE"}
    made = launch(settings, ["--SlurmEndpoint.gpus=", "--OllamaServer.keep_alive=1h"], front)
    own = ("hub", "--register=/shared", "--idle-minutes=7.5", "--OllamaServer.keep_alive=1h")
    assert made.command[1:] == own
    assert made.command[0].endswith("/jupyter-ollama")
    assert made.environment == {
        "JUPYTERHUB_API_TOKEN": "t",
        "JUPYTERHUB_API_URL": hub_api,
        "SLURM_CONF": "/etc/slurm.conf",
    }
