"""The examples start as they are: no accounts on this machine, no settings but ports and proxy."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running_hub import EXAMPLES, PROXY, Hub

PORTS = """
load_subconfig({example!r})
c.JupyterHub.hub_bind_url = {hub!r}
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = {proxy_api!r}
c.ConfigurableHTTPProxy.auth_token = {proxy_token!r}
"""


@contextmanager
def as_given(example: str, folder: Path, models: Path, more: str = "") -> Iterator[Hub]:
    """Set up the Hub of an example with its proxy; ``more`` is added to its configuration."""
    folder.mkdir()
    hub = Hub(folder, models)
    for config in folder.rglob("*_config.py"):
        config.unlink()
    source = (EXAMPLES / example / "jupyterhub_config.py").read_text(encoding="utf-8")
    copy = folder / "example.py"
    copy.write_text(hub.adapted(source), encoding="utf-8")
    ports = PORTS.format(example=str(copy), hub=hub.hub, proxy_api=hub.proxy_api, proxy_token=PROXY)
    (folder / "jupyterhub_config.py").write_text(ports + more, encoding="utf-8")
    try:
        hub.start_proxy()
        yield hub
    finally:
        for name in [*hub.processes][::-1]:
            hub.stop(name)


@pytest.mark.parametrize("example", ["managed", "external", "shared-server"])
def test_the_hub_starts(example: str, hub_folder: Path, hub_models: Path) -> None:
    with as_given(example, hub_folder / example, hub_models) as hub:
        hub.start_hub()
        if example == "managed":
            hub.wait_for(f"{hub.url}/services/ollama/ollama/api/version")
        log = (hub.folder / "hub.log").read_text()
        assert f"Log in at {hub.url} as alice or bob, password " in log


def test_an_endpoint_that_is_root_is_refused_with_advice(
    hub_folder: Path, hub_models: Path
) -> None:
    """The advice leads to the result of the example, see above."""
    without = 'c.JupyterHub.services[0]["command"].remove("--allow-root")\n'
    is_root = os.geteuid() == 0
    with as_given("managed", hub_folder / "root", hub_models, without * is_root) as hub:
        hub.start_hub()
        end = time.monotonic() + 40
        while is_root and "The next attempt follows" not in hub.log("hub"):
            assert time.monotonic() < end, hub.log("hub")
            time.sleep(0.2)
        if is_root:
            assert "Error: it does not run as root." in hub.log("hub")
            assert "or add --allow-root to its command" in hub.log("hub")
