"""Workers for tests: `jupyter ollama worker` on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from cli_process import free_port


class Worker:
    """A worker that runs; it can be killed and started again at the same address."""

    def __init__(self, *arguments: str) -> None:
        self.port = free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self._arguments = arguments
        self.start()

    def start(self) -> None:
        """Start the process; it may take a second until it listens."""
        program = Path(sys.executable).with_name("jupyter-ollama")
        command = [program, "worker", f"--port={self.port}", *self._arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def wait(self) -> None:
        """Wait until it listens."""
        while True:
            assert self.process.poll() is None
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait()

    @property
    def memory(self) -> int:
        """Bytes of its private memory."""
        info = psutil.Process(self.process.pid).memory_info()
        return int(info.rss - info.shared)


@contextmanager
def working(count: int, *arguments: str) -> Iterator[list[Worker]]:
    """Start workers with the arguments of the command, and end them afterwards."""
    workers = [Worker(*arguments) for _ in range(count)]
    try:
        for worker in workers:
            worker.wait()
        yield workers
    finally:
        for worker in workers:
            worker.kill()
