"""`make hub-demo`: one command starts a Hub and the endpoint, and Ctrl-C ends all of it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
from hub_demo import PORTS

DEMO = Path(__file__).parents[2] / "tools" / "hub_demo.py"


def first_of_free_ports() -> int:
    """Return a port from which on all of the demo's are free, below those of connections."""
    while True:
        port = random.randrange(10_000, 30_000)
        if all(is_free(port + distance) for distance in PORTS.values()):
            return port


def is_free(port: int) -> bool:
    """Return whether a server can listen at a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@contextmanager
def demo(folder: Path, models: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, DEMO, f"--port={port}", f"--folder={folder}"],
        env=os.environ | {"OLLAMA_MODELS": str(models)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A process that a shell started in the background ignores it, and so would the Hub.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_demo_names_its_addresses_and_ends_with_ctrl_c(
    hub_folder: Path, hub_models: Path
) -> None:
    port = first_of_free_ports()
    hub = f"http://127.0.0.1:{port}"
    with demo(hub_folder / "demo", hub_models, port) as process:
        late = threading.Timer(120, process.kill)
        late.start()
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if "Ctrl-C ends" in line:
                break
        late.cancel()
        assert f"{hub}/services/ollama/" in said, said
        assert "password" in said
        assert httpx2.get(f"{hub}/hub/login").status_code == 200
        api = f"{hub}/services/ollama/ollama/api/version"
        assert httpx2.get(api).status_code == 403
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 3, "the Hub, its proxy and the endpoint"
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 0, rest
        _, alive = psutil.wait_procs(started, timeout=30)
        assert not alive, rest
