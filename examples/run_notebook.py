"""Run a notebook in a Jupyter server started for it, and show its cells and outputs as they come.

The kernel is started by the server, as it is in JupyterLab, so the magics find the server by
themselves. The notebook file is not changed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import nbformat
from jupyter_client.blocking import BlockingKernelClient
from jupyter_core.paths import jupyter_runtime_dir

START_TIMEOUT = 180.0  # seconds, long enough for a machine that does other work
FAINT, BOLD, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def main() -> int:
    """Run the notebook; the exit status is 1 if a cell fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebook", type=Path)
    notebook = parser.parse_args().notebook.resolve()
    cells = nbformat.read(notebook, as_version=4).cells
    with jupyter_server(notebook.parent) as server, kernel(server, notebook) as client:
        screen = Screen()
        for cell in cells:
            if cell.cell_type == "markdown":
                screen.heading(cell.source)
            elif cell.cell_type == "code" and cell.source.strip():
                screen.source(cell.source)
                reply = client.execute_interactive(
                    cell.source, allow_stdin=False, output_hook=screen.output, timeout=None
                )
                screen.end_cell()
                if reply["content"]["status"] != "ok":
                    return 1
    return 0


@dataclass(frozen=True)
class Server:
    """A running Jupyter server."""

    url: str
    token: str

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request to Jupyter's REST API and return the JSON answer."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
        )
        # Requests to this machine go through no proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=START_TIMEOUT) as response:
            content = response.read()
        return json.loads(content) if content else None


@contextlib.contextmanager
def jupyter_server(folder: Path) -> Iterator[Server]:
    """Start a Jupyter server on a free port of the loopback address; stop it at the end."""
    server = Server(f"http://127.0.0.1:{free_port()}", secrets.token_hex(24))
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={server.url.rpartition(':')[2]}", "--ServerApp.port_retries=0"]
    command += [f"--ServerApp.root_dir={folder}", "--ServerApp.base_url=/", "--allow-root"]
    # The token is passed in the environment: all users can read a command line.
    environment = {**os.environ, "JUPYTER_TOKEN": server.token}
    for name in ("JUPYTER_OLLAMA_URL", "JUPYTER_OLLAMA_TOKEN"):
        environment.pop(name, None)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until_ready(server, process, log)
            print(f"Jupyter server at {server.url}", flush=True)
            yield server
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a server; kill it if it does not end by itself."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        # A request that jupyter_server cut off leaves a thread of AnyIO, for which it waits.
        process.kill()
        process.wait()


def wait_until_ready(server: Server, process: subprocess.Popen[bytes], log: IO[str]) -> None:
    """Return when the server answers; raise SystemExit with its log if it does not."""
    end = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            server.call("GET", "/api/status")
            return
        time.sleep(0.1)
    log.seek(0)
    raise SystemExit(f"The Jupyter server did not start:\n{log.read()}")


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def kernel(server: Server, notebook: Path) -> Iterator[BlockingKernelClient]:
    """Have the server start a kernel for the notebook; yield a client connected to it."""
    body = {
        "path": notebook.name,
        "name": notebook.name,
        "type": "notebook",
        "kernel": {"name": "python3"},
    }
    session = server.call("POST", "/api/sessions", body)
    connection = Path(jupyter_runtime_dir(), f"kernel-{session['kernel']['id']}.json")
    client = BlockingKernelClient(connection_file=str(connection))
    client.load_connection_file()
    client.start_channels()
    try:
        wait_for_kernel(client, server, session["kernel"]["id"])
        yield client
    finally:
        client.stop_channels()
        server.call("DELETE", f"/api/sessions/{session['id']}")


def wait_for_kernel(client: BlockingKernelClient, server: Server, kernel_id: str) -> None:
    """Return when the kernel answers; raise SystemExit if it has ended or takes too long.

    jupyter_client takes one late heartbeat for the death of the kernel, which happens on a loaded
    machine. The server knows whether the process runs.
    """
    end = time.monotonic() + START_TIMEOUT
    while True:
        try:
            client.wait_for_ready(timeout=max(0.0, end - time.monotonic()))
            return
        except RuntimeError as error:
            if time.monotonic() > end or not runs(server, kernel_id):
                raise SystemExit(f"The kernel did not start: {error}") from None


def runs(server: Server, kernel_id: str) -> bool:
    """Return whether the server still has a kernel."""
    try:
        state: str = server.call("GET", f"/api/kernels/{kernel_id}")["execution_state"]
    except urllib.error.HTTPError:
        return False
    return state != "dead"


class Screen:
    """Writes cells and their outputs for a person to follow."""

    def __init__(self) -> None:
        self.displays: dict[str, str] = {}
        self.cursor_at_line_start = True

    def heading(self, text: str) -> None:
        """Show a markdown cell."""
        self.write(f"\n{FAINT}{text}{PLAIN}\n" if tty() else f"\n{text}\n")

    def source(self, code: str) -> None:
        """Show the source of a code cell."""
        for line in code.splitlines():
            text = f"│ {line}"
            self.write(f"{BOLD}{text}{PLAIN}\n" if tty() else f"{text}\n")

    def output(self, message: dict[str, Any]) -> None:
        """Show one message of the kernel."""
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            self.write(content["text"])
        elif kind == "error":
            trace = "\n".join(content["traceback"])
            self.write((trace if tty() else COLOURS.sub("", trace)) + "\n")
        elif kind in ("display_data", "update_display_data", "execute_result"):
            display = content.get("transient", {}).get("display_id", "")
            self.display(display, readable(content["data"]))

    def display(self, name: str, text: str) -> None:
        """Show a display; of one shown before only what was added to it."""
        shown = self.displays.get(name, "")
        if name and shown and text.startswith(shown):
            self.write(text[len(shown) :])
        else:
            self.end_line()
            self.write(text if name else text + "\n")
        if name:
            self.displays[name] = text

    def end_cell(self) -> None:
        """Leave the cell."""
        self.end_line()
        self.displays.clear()

    def end_line(self) -> None:
        """Begin a new line unless one has just begun."""
        if not self.cursor_at_line_start:
            self.write("\n")

    def write(self, text: str) -> None:
        """Print at once."""
        if text:
            print(text, end="", flush=True)
            self.cursor_at_line_start = COLOURS.sub("", text).endswith("\n")


def readable(data: dict[str, Any]) -> str:
    """Return an output as text: the plain form, or the markdown where that is only a name."""
    plain: str = data.get("text/plain", "")
    return data.get("text/markdown", plain) if plain.startswith("<IPython.") else plain


def tty() -> bool:
    """Return whether the output is a terminal."""
    return sys.stdout.isatty()


if __name__ == "__main__":
    sys.exit(main())
