"""The real command as a subprocess, a real server to talk to, and a peer with canned answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli_process import Ollama, Peer, Served, serving


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of every command: no settings, files or server of the user."""
    home = tmp_path_factory.mktemp("home")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OLLAMA_", "JUPYTER", "JPY_"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "HOME": str(home), "OLLAMA_HOST": "127.0.0.1:1"}


@pytest.fixture(scope="session")
def ollama(environment: dict[str, str]) -> Ollama:
    """Run `jupyter ollama` with arguments; ``host`` is the server, ``stdin`` its input."""

    def run(
        *arguments: str, host: str = "127.0.0.1:1", stdin: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["jupyter-ollama", *arguments],
            env={**environment, "OLLAMA_HOST": host, **variables},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def server(
    environment: dict[str, str], ollama_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A server with a copy of the starter models, which tests may change."""
    folder = tmp_path_factory.mktemp("served")
    models = folder / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    with serving(environment, models, folder) as served:
        yield served


@pytest.fixture
def peer() -> Iterator[Peer]:
    """Answers that no small model can give: GPUs, thinking, errors in the middle of a stream."""
    peer = Peer()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent = json.loads(body) if body else None
            peer.requests.append((self.command, self.path, dict(self.headers), sent))
            path = self.path[self.path.index("/api/") :]
            lines = [json.dumps(item) for item in peer.answers.get(path, [{}])]
            content = ("\n".join(lines) + "\n").encode()
            self.send_response(peer.status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        peer.host = f"127.0.0.1:{http_server.server_port}"
        thread = threading.Thread(target=http_server.serve_forever)
        thread.start()
        yield peer
        http_server.shutdown()
        thread.join()
