"""Run a JupyterHub with an endpoint that its users share, until Ctrl-C.

    make hub-demo
    python tools/hub_demo.py [--port 8000] [--folder FOLDER]

It is examples/jupyterhub/managed, with the models of this account and with its files in a folder of
its own. Needs Node.js for JupyterHub's proxy.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from hub_proxy import proxy_command

EXAMPLE = Path(__file__).resolve().parents[1] / "examples/jupyterhub/managed/jupyterhub_config.py"
PORTS = {"Hub's proxy": 0, "proxy's API": 1, "Hub": 81, "endpoint": 1999}
"""Distances from the first port: from 8000 on they are those of the example and of JupyterHub."""

READY = """
  {hub}/                      log in with the password above as
      alice   who runs models
      bob     who also pulls and removes them
      carol   or any other name: not in the group, no models
  {hub}/services/ollama/      the page of the endpoint; its API is below ollama/ there

  In a notebook of alice: %load_ext jupyter_ollama, then %%chat smollm2
  Ctrl-C ends all of it.

"""
CONFIG = """
load_subconfig({example!r})
c.JupyterHub.hub_port = {port} + 81
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.log_level = "WARN"
c.ConfigurableHTTPProxy.command = [{proxy!r}, "--log-level=error"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{port_of_api}"
c.SimpleLocalProcessSpawner.home_dir_template = {home!r}
c.Spawner.default_url = "/lab"
if {is_root}:
    c.Spawner.args = ["--allow-root"]
for service in c.JupyterHub.services:
    service["environment"] = {{"OLLAMA_MODELS": {models!r}}}
"""


def write_config(folder: Path, port: int) -> Path:
    """Write the settings of the example for this machine; return their file."""
    example = folder / "managed.py"
    text = EXAMPLE.read_text(encoding="utf-8")
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
    example.write_text(text.replace("127.0.0.1:9999", f"127.0.0.1:{port + PORTS['endpoint']}"))
    config = folder / "jupyterhub_config.py"
    config.write_text(
        CONFIG.format(
            example=str(example),
            port=port,
            port_of_api=port + PORTS["proxy's API"],
            proxy=proxy_command(),
            home=f"{folder}/home/{{username}}",
            is_root=os.geteuid() == 0,
            models=os.environ.get("OLLAMA_MODELS") or str(Path.home() / ".ollama" / "models"),
        ),
        encoding="utf-8",
    )
    return config


def used_ports(first: int) -> list[str]:
    """Return a sentence for each port that another program has."""
    found = []
    for user, distance in PORTS.items():
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", first + distance)) == 0:
                found.append(f"port {first + distance} for the {user} is in use")
    return found


def is_ready(hub: str) -> bool:
    """Return whether the endpoint answers through the Hub's proxy: it asks for a token."""
    try:
        with urllib.request.urlopen(f"{hub}/services/ollama/ollama/api/version"):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 403
    except OSError:
        return False


def main() -> int:
    """Start the Hub, and return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="the first of the ports")
    parser.add_argument("--folder", type=Path, default=Path(sys.prefix) / "hub-demo")
    arguments = parser.parse_args()
    if used := used_ports(arguments.port):
        sys.exit(f"Error: {'; '.join(used)} (--port chooses others)")
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        config = write_config(folder, arguments.port)
    except RuntimeError as error:
        sys.exit(f"Error: {error}")
    # The Hub must not look for servers of an earlier run.
    (folder / "hub.sqlite").unlink(missing_ok=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    hub = subprocess.Popen(
        [sys.executable, "-m", "jupyterhub", "-f", str(config)],
        cwd=folder,
        env=os.environ | {"PATH": path},
    )
    # The terminal sends Ctrl-C to the Hub as well, which then ends what it has started.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: hub.terminate())
    address = f"http://127.0.0.1:{arguments.port}"
    while hub.poll() is None and not is_ready(address):
        time.sleep(0.5)
    if hub.poll() is None:
        sys.stdout.write(READY.format(hub=address))
        sys.stdout.flush()
    return hub.wait()


if __name__ == "__main__":
    sys.exit(main())
