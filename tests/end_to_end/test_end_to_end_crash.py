"""The streams of a killed runner end with an error line; no other request is affected."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse

import psutil
from run_notebook import Server


@contextmanager
def generating(server: Server, prompt: str, tokens: int) -> Iterator[HTTPResponse]:
    body = {"model": "smollm2", "prompt": prompt, "options": {"num_predict": tokens}}
    request = urllib.request.Request(
        f"{server.url}/ollama/api/generate",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {server.token}"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        yield response


def runner_of(server: Server) -> psutil.Process:
    """Find the one runner process by its command line."""
    port = int(server.url.rpartition(":")[2])
    (owner,) = {
        c.pid
        for c in psutil.net_connections("tcp")
        if c.laddr.port == port and c.status == "LISTEN"
    }
    (runner,) = [
        child
        for child in psutil.Process(owner).children()
        if "jupyter_ollama.engine.runner" in child.cmdline()
    ]
    return runner


def test_eight_streams_of_a_killed_runner(server: Server) -> None:
    started = threading.Barrier(9)
    ends: list[tuple[float, dict[str, object]]] = []

    def follow(number: int) -> None:
        with generating(server, f"Write a long story, number {number}.", 3000) as response:
            response.readline()
            started.wait(60)
            last = b""
            for line in response:
                last = line
            ends.append((time.monotonic(), json.loads(last)))

    threads = [threading.Thread(target=follow, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    started.wait(60)
    os.kill(runner_of(server).pid, signal.SIGKILL)
    killed = time.monotonic()
    for thread in threads:
        thread.join(10)
    assert len(ends) == 8
    assert all("unexpectedly stopped" in str(last["error"]) for _, last in ends)
    print(f"the last stream ended {max(when for when, _ in ends) - killed:.2f} s after the kill")
    with generating(server, "Hello", 4) as response:
        assert json.loads(response.readlines()[-1])["done"] is True
    assert server.call("GET", "/ollama/api/version")["version"]
