"""A Hub runs on although the endpoint that it starts as a service cannot start."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
from running_hub import Hub
from test_hub_as_given import as_given

API = "/services/ollama/ollama/api/version"
ADD = 'c.JupyterHub.services[0]["command"].append({!r})\n'


@pytest.mark.parametrize("option", ["--OllamaServer.keep_alive=soon", "--OllamaServer.shared=no"])
def test_the_hub_runs_on_without_an_endpoint_that_cannot_start(
    option: str, hub_folder: Path, hub_models: Path
) -> None:
    folder = hub_folder / option.partition("=")[0].strip("-")
    with as_given("managed", folder, hub_models, ADD.format(option)) as hub:
        hub.start_hub()
        wait_for(hub, "JupyterHub is now running, internal", "The next attempt follows")
        wait_for(hub, "Route added /services/ollama", log="proxy")
        answer = hub.ask("GET", API)
        assert answer.status_code == 503, answer.text
        assert answer.json() == {
            "error": "the endpoint cannot start: the JupyterHub's log has the reason"
        }


def test_the_hub_runs_on_where_another_program_has_the_port(
    hub_folder: Path, hub_models: Path
) -> None:
    with as_given("managed", hub_folder / "port", hub_models) as hub, other_program(hub):
        hub.start_hub()
        wait_for(hub, "JupyterHub is now running, internal", "is already in use")


def test_a_wrong_folder_of_models_concerns_requests_alone(hub_folder: Path) -> None:
    with as_given("managed", hub_folder / "models-nowhere", Path("/proc/nowhere")) as hub:
        hub.start_hub()
        wait_for(hub, "JupyterHub is now running, internal")
        wait_for(hub, "Route added /services/ollama", log="proxy")
        assert hub.ask("GET", API).status_code == 403


def wait_for(hub: Hub, *texts: str, log: str = "hub") -> None:
    """Wait until the log of a process that runs has these texts."""
    end = time.monotonic() + 40
    while any(text not in hub.log(log) for text in texts):
        assert hub.processes["hub"].poll() is None, hub.log("hub")
        assert time.monotonic() < end, hub.log(log)
        time.sleep(0.2)


@contextmanager
def other_program(hub: Hub) -> Iterator[None]:
    """Run another program at the address of the endpoint."""
    host, _, port = hub.endpoint.partition(":")
    with HTTPServer((host, int(port)), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()
