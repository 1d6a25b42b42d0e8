"""Runners and servers that are killed at random moments."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from attacks.fuzz import Request, send

QUESTION = {"model": "smollm2", "prompt": "One, two", "options": {"num_predict": 8, "seed": 1}}
EMBEDDING = {"model": "all-minilm", "input": ["one", "two words"] * 8}
STARTING = 60.0
"""Seconds that a server may take until it answers."""


def work(chance: random.Random) -> Request:
    """Return a call that runs, makes or removes a model."""
    name = f"kill-{chance.randrange(4)}"
    path, body = chance.choice(
        [
            ("/api/generate", QUESTION | {"prompt": f"{chance.random()}, two", "stream": True}),
            ("/api/generate", QUESTION | {"stream": False}),
            ("/api/embed", EMBEDDING),
            ("/api/create", {"model": name, "from": "smollm2", "system": name * 50}),
            ("/api/create", {"model": name, "from": "smollm2", "quantize": "q8_0"}),
            ("/api/copy", {"source": "smollm2", "destination": name}),
            ("/api/delete", {"model": name}),
            ("/api/generate", {"model": "all-minilm", "keep_alive": 0}),
        ]
    )
    method = "DELETE" if path == "/api/delete" else "POST"
    return Request("manager", method, path, {}, json.dumps(body).encode())


async def users_work(port: int, chance: random.Random, statuses: Counter[int]) -> None:
    """Send calls, six at a time, until cancelled."""

    async def line() -> None:
        while True:
            with suppress(OSError, IndexError, ValueError):
                statuses[await send(port, work(chance))] += 1

    await asyncio.gather(*(line() for _ in range(6)))


async def kill_runners(port: int, server: psutil.Process, count: int, seed: int) -> Counter[int]:
    """Kill runners while users work; return the statuses of the calls."""
    chance = random.Random(seed)
    statuses: Counter[int] = Counter()
    users = asyncio.create_task(users_work(port, chance, statuses))
    killed = 0
    while killed < count:
        await asyncio.sleep(chance.uniform(0.02, 0.6))
        if victims := server.children():
            with suppress(psutil.NoSuchProcess):
                chance.choice(victims).kill()
                killed += 1
    users.cancel()
    await asyncio.gather(users, return_exceptions=True)
    return statuses


@contextmanager
def serving(models: str, log: Path) -> Iterator[tuple[psutil.Process, int]]:
    """Run `jupyter ollama serve` on a free port; kill it at the end."""
    environment = {**os.environ, "OLLAMA_MODELS": models, "OLLAMA_HOST": "127.0.0.1:0"}
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "ollama", "serve"],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    server = psutil.Process(process.pid)
    try:
        yield server, port_of(server)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def port_of(server: psutil.Process) -> int:
    """Return the port that a server listens at, once it does."""
    end = time.monotonic() + STARTING
    while time.monotonic() < end:
        for connection in server.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                return int(connection.laddr.port)
        time.sleep(0.05)
    raise TimeoutError("the server does not listen")


async def ask(port: int, path: str, body: Any) -> Any:
    """Return the JSON of an answer that must arrive."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    answer = await reader.read()
    writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])


async def kill_server(models: str, log: Path, count: int, seed: int) -> list[str]:
    """Kill a server at random moments; return the faults found after each restart."""
    chance = random.Random(seed)
    wrong: list[str] = []
    expected: str | None = None
    for round_ in range(count):
        with serving(models, log) as (server, port):
            answer = await ask(port, "/api/generate", QUESTION | {"stream": False})
            expected = expected or answer["response"]
            if answer.get("response") != expected:
                wrong.append(f"{round_}: the answer is {answer}")
            users = asyncio.create_task(users_work(port, chance, Counter()))
            await asyncio.sleep(chance.uniform(0, 2))
            runners = server.children(recursive=True)
            server.kill()
            users.cancel()
            await asyncio.gather(users, return_exceptions=True)
            _, left = psutil.wait_procs(runners, timeout=20)
            wrong += [f"{round_}: {one.name()} outlives the server" for one in left]
    wrong += damaged(Path(models))
    return wrong


def damaged(models: Path) -> list[str]:
    """Return the blobs whose bytes do not match their digests, once a server has started."""
    wrong = []
    for blob in (models / "blobs").glob("sha256-" + "[0-9a-f]" * 64):
        digest = hashlib.sha256(blob.read_bytes()).hexdigest()
        if blob.name != f"sha256-{digest}":
            wrong.append(f"{blob.name} holds other bytes")
    for manifest in (models / "manifests").rglob("*"):
        if manifest.is_file():
            layers = json.loads(manifest.read_bytes())
            digests = [layer["digest"] for layer in [layers["config"], *layers["layers"]]]
            gone = [
                one for one in digests if not (models / "blobs" / one.replace(":", "-")).exists()
            ]
            wrong += [f"{manifest.name} names {one}, which is not there" for one in gone]
    return wrong
