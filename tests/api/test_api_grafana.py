"""The dashboard and the alerts for administrators, by a real Prometheus that scrapes a server."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_client import Fetch, generate
from cli_process import free_port
from traitlets.config import Config

FOLDER = Path(__file__).parents[2] / "examples" / "jupyterhub" / "grafana"
CASES = Path(__file__).with_name("alert_cases.yaml")
PATIENCE = 60.0
"""Seconds for the counters to have two values."""


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


@pytest.fixture
def jp_base_url() -> str:
    """A path without escapes, which Prometheus would write otherwise than Jupyter."""
    return "/services/ollama/"


@pytest.fixture
def jp_server_config(jp_server_config: Config) -> Config:
    jp_server_config.OllamaServer.metrics_by_user = True
    return jp_server_config


def expressions() -> list[tuple[str, str]]:
    """Return the title of each panel and its queries, as Grafana sends them."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    names = {"$__rate_interval": "1m", "$__range": "5m", "$instance": ".*"}
    found = []
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            text = target["expr"]
            for name, value in names.items():
                text = text.replace(name, value)
            found.append((panel["title"], text))
    return found


def ask(port: int, path: str, **arguments: str) -> Any:
    query = urllib.parse.urlencode(arguments)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}?{query}") as response:
        answer = json.load(response)
    assert answer["status"] == "success", answer
    return answer["data"]


@contextmanager
def prometheus(folder: Path, url: str, token: str) -> Iterator[int]:
    """Run Prometheus with the example's configuration; yield its port."""
    parts = urllib.parse.urlsplit(url)
    settings = yaml.safe_load((FOLDER / "prometheus.yaml").read_text("utf-8"))
    settings["global"]["scrape_interval"] = "1s"
    (scrape,) = settings["scrape_configs"]
    scrape["metrics_path"] = parts.path + "/metrics"
    scrape["authorization"] = {"type": "token", "credentials": token}
    scrape["static_configs"] = [{"targets": [parts.netloc]}]
    shutil.copy(FOLDER / "alerts.yaml", folder)
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_ready(process, port, folder / "log")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until Prometheus answers."""
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready"):
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text())


async def test_each_panel_shows_values_of_a_server_that_was_scraped(
    jupyter: Fetch, jupyter_url: str, jp_auth_header: dict[str, str], tmp_path: Path
) -> None:
    token = jp_auth_header["Authorization"].split()[-1]
    with prometheus(tmp_path, jupyter_url, token) as port:
        waiting = dict.fromkeys(expressions())
        end = time.monotonic() + PATIENCE
        short = {"num_predict": 4, "num_ctx": 512}
        assert (await jupyter("POST", "/api/generate", generate(keep_alive=0))).code == 200
        while waiting and time.monotonic() < end:
            asked = generate(options=short, stream=False)
            assert (await jupyter("POST", "/api/generate", asked)).code == 200
            assert (await jupyter("PUT", "/admin/drain")).code == 200
            assert (await jupyter("POST", "/api/generate", asked)).code == 503
            assert (await jupyter("PUT", "/admin/resume")).code == 200
            for one in list(waiting):
                if (await asyncio.to_thread(ask, port, "query", query=one[1]))["result"]:
                    del waiting[one]
            await asyncio.sleep(0.2)
        rules = (await asyncio.to_thread(ask, port, "rules"))["groups"][0]["rules"]
        targets = (await asyncio.to_thread(ask, port, "targets"))["activeTargets"]
    assert [target["lastError"] for target in targets] == [""]
    assert [title for title, _ in waiting] == []
    assert len(rules) == 6
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert {rule["state"] for rule in rules} == {"inactive"}


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    text = CASES.read_text("utf-8").replace("[ALERTS]", json.dumps([str(FOLDER / "alerts.yaml")]))
    (tmp_path / "cases.yaml").write_text(text)
    run = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "cases.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_panels_have_titles_descriptions_and_units() -> None:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))
    shown = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in shown:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
