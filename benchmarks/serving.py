"""Ours over HTTP against the bare loop: `make bench`.

Prints a table in Markdown: tokens a second at 1, 8 and 16 streams with their ratio to the bare
loop, time to the first token, the worst gap in a running stream while a 2,000-token prompt is read
beside it, embeddings a second, and the resident memory of both processes. Every figure is the
median of several rounds in which the contenders take turns, since speed drifts on shared machines:
compare ratios, not runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from urllib.request import urlopen

import psutil
from workload import LONG_PROMPT, PREDICT, prompts

from jupyter_ollama.engine.handle import ENVIRONMENT

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples"))

STREAMS = (1, 8, 16)
PORT = 11533


@contextmanager
def serving(store: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `jupyter ollama serve` on a store."""
    environment = {**os.environ, "OLLAMA_MODELS": store, "OLLAMA_HOST": f"127.0.0.1:{PORT}"}
    command = [str(Path(sys.executable).with_name("jupyter-ollama")), "serve"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                urlopen(f"http://127.0.0.1:{PORT}/api/version").read()
                break
            except OSError:
                time.sleep(0.1)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


async def post(path: str, body: dict[str, object]) -> tuple[list[float], bytes]:
    """Send a request by the plainest client; return when each line came and the last line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT, limit=2**26)
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    times, last = [], b""
    async for line in reader:
        if line.startswith(b"{"):
            times.append(time.perf_counter())
            last = line
    writer.close()
    return times, last


def request(prompt: str, predict: int = PREDICT) -> dict[str, object]:
    """Return the body of a greedy request for raw text."""
    options = {"temperature": 0, "num_predict": predict, "num_ctx": 4096}
    return {"model": "smollm2", "prompt": prompt, "raw": True, "options": options}


async def streams(count: int) -> tuple[float, float]:
    """Return tokens a second while generating (prefill left out), and the median TTFT in ms."""
    start = time.perf_counter()
    answers = await asyncio.gather(
        *(post("/api/generate", request(prompt)) for prompt in prompts(count))
    )
    tokens = sum(json.loads(last)["eval_count"] for _, last in answers)
    seconds = max(times[-1] for times, _ in answers) - max(times[0] for times, _ in answers)
    first = [times[0] - start for times, _ in answers]
    # The first token of each stream belongs to its prefill.
    return (tokens - count) / seconds, median(first) * 1e3


async def interference() -> float:
    """Return the worst gap in ms of a running stream while a long prompt is read beside it."""
    stream = asyncio.create_task(post("/api/generate", request(prompts(1)[0], 600)))
    await asyncio.sleep(1)
    start = time.perf_counter()
    await post("/api/generate", request(LONG_PROMPT, 1))
    stop = time.perf_counter()
    times, _ = await stream
    during = [t for t in times if start <= t <= stop]
    return max(b - a for a, b in pairwise(during)) * 1e3


async def embeddings(count: int = 1000) -> float:
    """Return texts a second for one request of many texts."""
    texts = [f"Sentence {n} about {prompt[50:80]}" for n, prompt in enumerate(prompts(count))]
    start = time.perf_counter()
    await post("/api/embed", {"model": "all-minilm", "input": texts})
    return count / (time.perf_counter() - start)


def bare(model: Path) -> dict[str, float]:
    """Return the bare loop's tokens a second by number of streams, with a runner's OpenMP."""
    command = [sys.executable, HERE / "bare_loop.py", model, *map(str, STREAMS)]
    environment = {**ENVIRONMENT, **os.environ}
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    return dict(json.loads(done.stdout))


def resident(process: subprocess.Popen[bytes]) -> dict[str, float]:
    """Return resident memory in MiB of the server and of its runners."""
    server = psutil.Process(process.pid)
    runners = server.children(recursive=True)
    return {
        "server": server.memory_info().rss / 2**20,
        "runners": sum(child.memory_info().rss for child in runners) / 2**20,
    }


def measure(store: str, model: Path, rounds: int) -> dict[str, float]:
    """Run all rounds and return the median of every figure."""
    figures: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        figures.setdefault(name, []).append(value)

    for _ in range(rounds):
        limit = bare(model)
        with serving(store) as process:
            asyncio.run(post("/api/generate", request("warm up", 2)))
            for count in STREAMS:
                speed, first = asyncio.run(streams(count))
                note(f"bare loop, {count} streams, tok/s", limit[str(count)])
                note(f"HTTP, {count} streams, tok/s", speed)
                note(f"HTTP / bare loop, {count} streams", speed / limit[str(count)])
                note(f"TTFT, {count} streams at once, ms", first)
            note("worst gap beside a 2,000-token prompt, ms", asyncio.run(interference()))
            memory = resident(process)
            note("resident memory of the server, MiB", memory["server"])
            note("resident memory of the smollm2 runner, MiB", memory["runners"])
            asyncio.run(embeddings(8))
            note("all-minilm embeddings a second", asyncio.run(embeddings()))
    return {name: median(values) for name, values in figures.items()}


def main() -> None:
    """Measure the starter models and print the table."""
    import starter_models

    from jupyter_ollama.library.model import Library
    from jupyter_ollama.library.store import Store

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Store(Path(folder)))
        for name in ("smollm2", "all-minilm"):
            starter_models.register(name, library)
        figures = measure(folder, library.find("smollm2").model_path, rounds)
    print(f"\n{os.cpu_count()} cores, median of {rounds} rounds\n")
    print("| figure | value |\n|---|---:|")
    for name, value in figures.items():
        print(f"| {name} | {value:.2f} |" if value < 10 else f"| {name} | {value:.0f} |")
    gain = figures["HTTP, 16 streams, tok/s"] / figures["HTTP, 1 streams, tok/s"]
    print(f"| HTTP, 16 streams / 1 stream | {gain:.2f} |")


if __name__ == "__main__":
    main()
