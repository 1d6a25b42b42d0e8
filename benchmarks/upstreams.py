"""What the way through this server adds to the first token of an upstream's answer.

    python benchmarks/upstreams.py

starts a jupyter_ollama with a tiny model, and two servers that have it as an upstream, by each of
its APIs. Each request is sent directly and through them in turn, on kept connections, so that all
ways meet the same noise of the host.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from contender import free_port

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from scripted_model import MESSAGES, write_scripts
from store_models import add_model

from jupyter_ollama.library.library import Library

WORDS = "These are the words of the model, a few more than a small handful of them."
OPTIONS = {"temperature": 0, "num_predict": 8}
START_SECONDS = 60


def bodies() -> dict[str, dict[str, Any]]:
    """Return the same question for each API, by its path."""
    question: dict[str, Any] = {
        "model": "scripted",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
    }
    return {
        "/api/chat": question | {"options": OPTIONS},
        "/v1/chat/completions": question | {"temperature": 0, "max_tokens": 8},
    }


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Make a folder with the settings of a server."""
    folder.mkdir()
    (folder / "jupyter_ollama_config.json").write_text(json.dumps({"OllamaServer": config}))


@asynccontextmanager
async def server(folder: Path, models: Path, config: dict[str, Any]) -> AsyncIterator[str]:
    """Run a server in a process of its own; yield its address."""
    write_config(folder, config)
    port = free_port()
    environment = os.environ | {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(models),
        "JUPYTER_CONFIG_DIR": str(folder),
    }
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-c", "from jupyter_ollama.cli.app import main; main()", "serve"]
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await _wait_for(url, folder / "log")
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _wait_for(url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    async with httpx2.AsyncClient(trust_env=False) as client:
        while time.monotonic() < end:
            try:
                await client.get(f"{url}/api/version")
                return
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
    sys.exit(f"{url} does not answer: see {log}")


async def first_part(client: httpx2.AsyncClient, url: str, path: str, body: Any) -> float:
    """Return the milliseconds to the first part of an answer, which is read to its end."""
    began = time.perf_counter()
    first = 0.0
    async with client.stream("POST", url + path, json=body) as response:
        response.raise_for_status()
        async for _ in response.aiter_raw():
            first = first or time.perf_counter()
    return (first - began) * 1e3


def quantile(times: list[float], part: float) -> float:
    """Return a quantile of times."""
    return sorted(times)[min(len(times) - 1, int(part * len(times)))]


async def measure(rounds: int) -> None:
    """Print the table."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = write_scripts(folder / "m.gguf", {"plain": WORDS}, template=MESSAGES)
        add_model(Library.open(folder / "models"), "scripted", path)
        enter = stack.enter_async_context
        direct = await enter(server(folder / "direct", folder / "models", {}))
        ways = {"direct": direct}
        for api in ("ollama", "openai"):
            given = {"upstreams": {"second": {"url": direct, "api": api}}}
            ways[api] = await enter(server(folder / api, folder / "none", given))
        client = await enter(httpx2.AsyncClient(trust_env=False, timeout=60))
        print("| asked by | upstream's API | direct p50 | through p50 | added p50 | added p90 |")
        print("|---|---|---|---|---|---|")
        for asked, body in bodies().items():
            times: dict[str, list[float]] = {way: [] for way in ways}
            for number in range(rounds + 10):
                order = [*ways]
                random.shuffle(order)
                for way in order:
                    taken = await first_part(client, ways[way], asked, body)
                    if number >= 10:  # the first ones load the model and connect
                        times[way].append(taken)
            for api in ("ollama", "openai"):
                pairs = zip(times[api], times["direct"], strict=True)
                added = [through - alone for through, alone in pairs]
                cells = (
                    statistics.median(times["direct"]),
                    statistics.median(times[api]),
                    statistics.median(added),
                    quantile(added, 0.9),
                )
                print(f"| {asked} | {api} | {' | '.join(f'{one:.1f} ms' for one in cells)} |")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, help="pairs of each kind")
    asyncio.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
