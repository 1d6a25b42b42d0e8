"""The processes and servers of the command line's tests."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Ollama = Callable[..., subprocess.CompletedProcess[str]]
PROGRAM = Path(sys.executable).with_name("jupyter-ollama")
"""The command of this environment, whatever is on the path."""


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Served:
    """A `jupyter ollama serve` that runs."""

    host: str
    models: Path
    log: Path
    process: subprocess.Popen[bytes]

    def wait_for(self, text: str) -> None:
        """Return when ``text`` is in the log; fail if the process ends before."""
        while text not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)


@contextmanager
def serving(
    environment: dict[str, str],
    models: Path,
    folder: Path,
    *arguments: str,
    address: str = "127.0.0.1",
) -> Iterator[Served]:
    """Start `jupyter ollama serve` on a free port; it is ready when this returns."""
    port = free_port()
    host = f"127.0.0.1:{port}"
    log = folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PROGRAM, "serve", *arguments],
            env={
                **environment,
                "OLLAMA_HOST": f"{address}:{port}",
                "OLLAMA_MODELS": str(models),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    served = Served(host, models, log, process)
    try:
        served.wait_for("Ollama API at")
        yield served
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@dataclass
class Peer:
    """A server whose answers a test sets: ``answers["/api/ps"] = [chunk, …]``."""

    host: str = ""
    answers: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    status: int = 200
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)


class Terminal:
    """A command on a terminal of its own: its input and its screen."""

    def __init__(self, command: list[str], environment: dict[str, str], kind: str = "dumb") -> None:
        self.screen = ""
        self._keyboard, inner = pty.openpty()
        self.process = subprocess.Popen(
            command,
            env={**environment, "TERM": kind},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._keyboard)

    def type(self, text: str) -> None:
        """Press keys; "\\n" is the Enter key."""
        os.write(self._keyboard, text.encode())

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def expect(self, text: str) -> str:
        """Wait until ``text`` is shown; return all before it and drop both from the screen."""
        assert self.shows(text, seconds=60), f"{text!r} was not shown:\n{self.screen}"
        before, _, self.screen = self.screen.partition(text)
        return before

    def shows(self, text: str, seconds: float) -> bool:
        """Return whether ``text`` is on the screen within so many seconds."""
        end = time.monotonic() + seconds
        while text not in self.screen:
            ready, _, _ = select.select([self._keyboard], [], [], max(0, end - time.monotonic()))
            if not ready:
                return False
            self.screen += self._read()
        return True

    def _read(self) -> str:
        try:
            data = os.read(self._keyboard, 65536)
        except OSError:  # Linux reports the end of a terminal this way
            data = b""
        assert data, f"the command has ended:\n{self.screen}"
        return data.decode(errors="replace").replace("\r\n", "\n")

    def status(self) -> int:
        """Wait for the end of the command and return its exit status."""
        return self.process.wait(30)
