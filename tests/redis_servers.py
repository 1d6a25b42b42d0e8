"""Debian's redis-server on a port of loopback, for the tests of shared budgets."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli_process import free_port


class RedisServer:
    """A server that a test starts, kills and stops, with or without a memory of its data."""

    def __init__(self, folder: Path, password: str = "") -> None:
        self.port = free_port()
        self.folder = folder
        self.password = password
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address, with the password."""
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def start(self, *, keeps: bool = True) -> None:
        """Start it, with an append-only file of all changes unless it is to forget them."""
        program = shutil.which("redis-server")
        assert program, "these tests need Redis: apt-get install redis-server"
        self.folder.mkdir(exist_ok=True)
        options = ["--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        options += ["--appendonly", "yes" if keeps else "no", "--appendfsync", "always"]
        if self.password:
            options += ["--requirepass", self.password]
        with (self.folder / "redis.log").open("ab") as log:
            command = [program, "--port", str(self.port), *options]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "redis.log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once."""
        assert self.process
        self.process.kill()
        self.process.wait()
        self.process = None


@contextmanager
def redis_server(folder: Path, password: str = "") -> Iterator[RedisServer]:
    """Run a server."""
    server = RedisServer(folder, password)
    server.start()
    try:
        yield server
    finally:
        if server.process:
            server.kill()
