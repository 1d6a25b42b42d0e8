"""Attacks on runners: templates, options, silence, files that block. Each returns figures.

    .venv/bin/python benchmarks/hostile.py runners [--requests 1000]

Prints them as JSON. All but the last run against a server of its own with SmolLM2. Before the
protections that they test, `templates` ended the runner after 30 s, `options` by its first bias of
-1e300, and `stopped` and `planted` never returned.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("benchmarks", "examples", "tests")]

import hostile_requests  # noqa: E402
import psutil  # noqa: E402
import starter_models  # noqa: E402
from client import Refused, get, post  # noqa: E402

from jupyter_ollama.library.library import Library  # noqa: E402

MODEL = "smollm2"
Figures = dict[str, Any]

CALL = '{{{{template "t{0}" .}}}}'
TWICE = '{{{{define "t{1}"}}}}' + CALL + CALL + "{{{{end}}}}"
NESTED = '{{define "t0"}}x{{end}}' + "".join(TWICE.format(n - 1, n) for n in range(1, 60))
NESTED += CALL.format(59)
ENDLESS = "{{range 99999}}{{range 99999}}{{end}}{{end}}"
QUESTION = {
    "model": MODEL,
    "prompt": "Once upon a time",
    "options": {"num_predict": 8, "temperature": 0},
}


async def ask(port: int) -> float:
    """Return the seconds to the first text of a short question."""
    start = time.perf_counter()
    lines = await post(port, "/api/generate", QUESTION)
    return lines[0][0] - start


async def attempt(port: int, path: str, body: dict[str, Any]) -> str:
    """Send a hostile request and return how it was answered."""
    try:
        await post(port, path, {"model": MODEL} | body)
    except Refused as error:
        return str(error).removeprefix(f"{path}: ").removeprefix("HTTP/1.1 ")[:3]
    return "200"


def runner() -> int:
    """Return the process id of the one runner below this process."""
    (found,) = (
        child.pid
        for child in psutil.Process().children(recursive=True)
        if "jupyter_ollama.engine.runner" in child.cmdline()
    )
    return found


async def templates(port: int, count: int = 8) -> Figures:
    """Send templates that never end while another user asks; every request has one of its own."""
    alone = await ask(port)
    pid = runner()
    bodies = [{"prompt": "Hi", "template": (NESTED, ENDLESS)[n % 2] + f"{n}"} for n in range(count)]
    attacks = [asyncio.create_task(attempt(port, "/api/generate", body)) for body in bodies]
    await asyncio.sleep(0.2)
    beside = [await ask(port) for _ in range(10)]
    during = sum(not attack.done() for attack in attacks)
    statuses = Counter(await asyncio.gather(*attacks))
    return {
        "first text alone": alone,
        "first text beside them": max(beside),
        "attacks still running then": during,
        "statuses": dict(statuses),
        "same runner": runner() == pid,
    }


async def options(port: int, count: int = 1000, first_seed: int = 0) -> Figures:
    """Send requests with hostile numbers, six at once; report the seeds that got a 5xx."""
    await ask(port)
    pid = runner()
    seeds = iter(range(first_seed, first_seed + count))
    statuses: Counter[str] = Counter()
    faults: list[int] = []

    async def work() -> None:
        for seed in seeds:
            status = await attempt(port, *hostile_requests.sampled(seed))
            statuses[status] += 1
            if status not in ("200", "400"):
                faults.append(seed)

    await asyncio.gather(*(work() for _ in range(6)))
    await ask(port)
    return {
        "statuses": dict(statuses),
        "seeds of faults": faults[:20],
        "same runner": runner() == pid,
    }


async def stopped(port: int) -> Figures:
    """Stop the runner while it answers: seconds to the error, and to the next answer."""
    await ask(port)
    pid = runner()
    long = QUESTION | {"options": {"num_predict": 4000, "num_ctx": 8192}}
    task = asyncio.create_task(attempt(port, "/api/generate", long | {"stream": False}))
    await asyncio.sleep(1)
    os.kill(pid, signal.SIGSTOP)
    start = time.perf_counter()
    status = await task
    to_error = time.perf_counter() - start
    again = await ask(port)
    return {
        "status": status,
        "seconds to the error": to_error,
        "seconds to the next answer": again,
        "another runner": runner() != pid,
    }


async def planted(port: int, store: Path) -> Figures:
    """Put a FIFO among the manifests and one among the blobs: seconds of a list of models."""
    folder = store / "manifests" / "registry.ollama.ai" / "library" / "planted"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "latest")
    os.mkfifo(store / "blobs" / f"sha256-{'0' * 64}")
    start = time.perf_counter()
    found = await asyncio.to_thread(get, port, "/api/tags")
    return {
        "seconds": time.perf_counter() - start,
        "models": [model["name"] for model in found["models"]],
    }


async def all_of(port: int, store: Path, requests: int) -> dict[str, Figures]:
    """Run all attacks, one after the other."""
    return {
        "templates": await templates(port),
        "options": await options(port, requests),
        "stopped": await stopped(port),
        "planted": await planted(port, store),
    }


def main() -> None:
    """Serve a store of its own, attack it and print the figures."""
    from library import serving

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = Library.open(Path(folder, "models"))
        starter_models.register(MODEL, library)
        with serving(library.store.root) as url:
            port = int(url.rpartition(":")[2])
            figures = asyncio.run(all_of(port, library.store.root, wanted.requests))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
