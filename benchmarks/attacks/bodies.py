"""Requests that are small or plain and cost a server much: bodies, counts, connections.

    .venv/bin/python benchmarks/hostile.py bodies [NAME …]

starts `jupyter ollama serve` with SmolLM2 and sends each attack once, while another client asks for
the version ten times a second. Each function returns its figures.
"""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

MIB = 2**20
MODEL = "smollm2"
OPTIONS = {"num_ctx": 256, "num_predict": 1}
TURN = {"role": "user", "content": "Say hello."}


@dataclass
class Figures:
    """The results of an attack: the answer, the server's processor time and memory, and delays.

    ``cpu_seconds`` is the processor time of the server and its runners, ``peak_mib`` the growth of
    the server's memory, ``others_seconds`` the longest time of a request for the version meanwhile.
    """

    attack: str
    sent_bytes: int
    status: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    others_seconds: float


@dataclass
class Server:
    """A server that runs."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the processor time of the server and its child processes."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(one.cpu_times()[:2]) for one in family)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer; 0 if the connection broke."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()


@contextmanager
def serving(files: int | None = None) -> Iterator[Server]:
    """Start a server, with at most so many open ``files``."""
    import starter_models

    from jupyter_ollama.library.library import Library

    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        models = Path(folder, "models")
        starter_models.register(MODEL, Library.open(models))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def limit() -> None:
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        log = stack.enter_context(Path(folder, "log").open("wb"))
        process = subprocess.Popen(
            [Path(sys.executable).with_name("jupyter-ollama"), "serve"],
            env=os.environ | {"OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_MODELS": str(models)},
            stdout=log,
            stderr=log,
            preexec_fn=limit,
        )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        server = Server(port, psutil.Process(process.pid))
        while server.ask("GET", "/api/version")[0] != 200:
            assert process.poll() is None, Path(folder, "log").read_text()
            time.sleep(0.1)
        yield server


def measured(
    server: Server, attack: str, path: str, body: Any, headers: dict[str, str] | None = None
) -> Figures:
    """Send one request and return its results."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    over = threading.Event()
    delays, sizes = [0.0], [0]

    def watch() -> None:
        while not over.wait(0.1):
            begin = time.monotonic()
            server.ask("GET", "/api/version")
            delays.append(time.monotonic() - begin)

    def weigh() -> None:
        while not over.wait(0.01):
            sizes.append(server.process.memory_info().rss)

    before, size = server.cpu_seconds(), server.process.memory_info().rss
    threads = [threading.Thread(target=task) for task in (watch, weigh)]
    for thread in threads:
        thread.start()
    begin = time.monotonic()
    status, _ = server.ask("POST", path, data, **(headers or {}))
    seconds = time.monotonic() - begin
    over.set()
    for thread in threads:
        thread.join()
    return Figures(
        attack,
        len(data),
        status,
        round(seconds, 2),
        round(server.cpu_seconds() - before, 2),
        round((max(sizes) - size) / MIB, 1),
        round(max(delays), 2),
    )


def product(server: Server) -> Figures:
    """1,000 prompts, 128 answers to each: 5 KB."""
    body = {"model": MODEL, "prompt": ["x"] * 1000, "n": 128, "max_tokens": 1}
    return measured(server, "product", "/v1/completions", body)


def bomb(server: Server) -> Figures:
    """13 KB that become 150 MB of empty lists."""
    plain = b'{"model": "' + MODEL.encode() + b'", "u": [' + b"[]," * 50 * MIB + b"[]]}"
    headers = {"Content-Encoding": "zstd"}
    return measured(server, "bomb", "/api/chat", zstd.compress(plain), headers)


def unknown_field(server: Server) -> Figures:
    """60 MB of empty lists in a field that no API has."""
    body = b'{"model": "none", "u": [' + b"[]," * 20 * MIB + b"[]]}"
    return measured(server, "unknown field", "/api/chat", body)


def options(server: Server) -> Figures:
    """30 MB of empty lists in a field that is read."""
    body = b'{"model": "none", "options": {"a": [' + b"[]," * 10 * MIB + b"[]]}}"
    return measured(server, "options", "/api/chat", body)


def many_messages(server: Server) -> Figures:
    """As many messages as are allowed, for a short context."""
    body = {"model": MODEL, "messages": [TURN] * 10_000, "options": OPTIONS, "stream": False}
    return measured(server, "10,000 messages", "/api/chat", body)


def too_many_messages(server: Server) -> Figures:
    """Twice as many."""
    body = {"model": MODEL, "messages": [TURN] * 20_000, "options": OPTIONS, "stream": False}
    return measured(server, "20,000 messages", "/api/chat", body)


def no_blanks(server: Server) -> Figures:
    """10 MB of letters without a blank."""
    text = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=10**7))
    body = {"model": MODEL, "prompt": text, "options": OPTIONS, "stream": False}
    return measured(server, "10 MB without blanks", "/api/generate", body)


def stop_strings(server: Server) -> Figures:
    """100,000 stop strings."""
    asked = OPTIONS | {"stop": [f"stop{i}" for i in range(100_000)], "num_predict": 20}
    body = {"model": MODEL, "prompt": "x", "options": asked, "stream": False}
    return measured(server, "100,000 stop strings", "/api/generate", body)


def detokenize(server: Server) -> Figures:
    """2 million tokens."""
    body = {"model": MODEL, "tokens": list(range(1000, 2000)) * 2000}
    return measured(server, "2 million tokens", "/api/detokenize", body)


ATTACKS: list[Callable[[Server], Figures]] = [
    product,
    bomb,
    unknown_field,
    options,
    many_messages,
    too_many_messages,
    no_blanks,
    stop_strings,
    detokenize,
]


def idle_connections() -> Figures:
    """1,000 connections that say nothing, to a server that may open 1,024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with serving(files=1024) as server, ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        body = {"model": MODEL, "prompt": "x", "options": OPTIONS, "stream": False}
        return measured(server, "1,000 idle connections", "/api/generate", body)


def main(names: list[str]) -> None:
    """Print the figures of the named attacks, or of all."""
    with serving() as server:
        warm = {"model": MODEL, "prompt": "x", "options": OPTIONS, "stream": False}
        server.ask("POST", "/api/generate", json.dumps(warm).encode())
        for attack in ATTACKS:
            if not names or attack.__name__ in names:
                print(json.dumps(asdict(attack(server))), flush=True)
    if not names or "idle_connections" in names:
        print(json.dumps(asdict(idle_connections())), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
