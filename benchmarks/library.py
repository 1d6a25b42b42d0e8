"""How long /api/tags and /api/show take on a store of many models, over HTTP on loopback.

Usage: python benchmarks/library.py [--models 500] [--rounds 50] [--words 32000] [--profile]

Every model has a GGUF of its own, with a vocabulary and the tensors of a model of 32 blocks.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import httpx2
import numpy as np

from jupyter_ollama.api.model_views import tag
from jupyter_ollama.engine import quantize
from jupyter_ollama.library.create import CreateRequest, create
from jupyter_ollama.library.library import Library

BLOCKS = 32
PER_BLOCK = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
TEMPLATE = "{{ if .System }}{{ .System }}{{ end }}{{ .Prompt }}{{ if .Tools }}{{ .Tools }}{{ end }}"


def main() -> None:
    """Make the store, serve it, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--words", type=int, default=32000)
    parser.add_argument("--profile", action="store_true", help="profile the library alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = Library.open(Path(folder, "models"))
        fill(library, Path(folder), arguments.models, arguments.words)
        if arguments.profile:
            profile(library)
            return
        with serving(library.store.root) as url:
            measure(url, arguments.models, arguments.rounds)


def fill(library: Library, folder: Path, count: int, words: int) -> None:
    """Make models of tiny files with long headers."""
    path = folder / "weights.gguf"
    for number in range(count):
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_context_length(4096)
        writer.add_embedding_length(32)
        writer.add_uint32("general.file_type", 1)
        writer.add_uint32("benchmark.number", number)
        writer.add_token_list([f"word{index}" for index in range(words)])
        for block in range(BLOCKS):
            for name in PER_BLOCK:
                writer.add_tensor(f"blk.{block}.{name}.weight", np.ones(32, np.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        digest = library.store.add_blob(path.read_bytes()).digest
        body = CreateRequest(
            model=f"someone{number % 50}/model{number}",
            files={"weights.gguf": digest},
            template=TEMPLATE,
            license=f"Licence {number}. " + "All rights given. " * 500,
            parameters={"temperature": 0.5, "stop": ["<|end|>"]},
        )
        for _ in create(library.store, body, quantize.run):
            pass


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """Serve the store from another process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    command = Path(sys.executable).with_name("jupyter-ollama")
    variables = {**os.environ, "OLLAMA_HOST": host, "OLLAMA_MODELS": str(root)}
    with subprocess.Popen([command, "serve"], env=variables, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                try:
                    httpx2.get(f"http://{host}/api/version", trust_env=False)
                except httpx2.ConnectError:
                    time.sleep(0.1)
                else:
                    yield f"http://{host}"
                    break
        finally:
            process.terminate()


def measure(url: str, count: int, rounds: int) -> None:
    """Print first and later times of both calls."""
    with httpx2.Client(trust_env=False, timeout=60) as http:
        began = time.perf_counter()
        names = [model["name"] for model in http.get(f"{url}/api/tags").json()["models"]]
        first = (time.perf_counter() - began) * 1e3
        assert len(names) == count

        def tags() -> None:
            http.get(f"{url}/api/tags").raise_for_status()

        def show(name: str) -> Callable[[], None]:
            return lambda: http.post(f"{url}/api/show", json={"model": name}).raise_for_status()

        def version() -> None:
            http.get(f"{url}/api/version").raise_for_status()

        print(f"{count} models      p50 ms   p95 ms   n")
        print(f"tags, first     {first:8.2f}")
        report("version", [version] * rounds)
        report("tags, again", [tags] * rounds)
        report("show, first", [show(name) for name in names])
        report("show, again", [show(name) for name in names])
        report("show, same one", [show(names[0])] * rounds)


def report(title: str, calls: list[Callable[[], object]]) -> None:
    """Time calls and print a row."""
    times = []
    for call in calls:
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1e3)
    late = statistics.quantiles(times, n=20)[-1]
    print(f"{title:<15} {statistics.median(times):8.2f} {late:8.2f} {len(times):5}")


def profile(library: Library) -> None:
    """Print the profile of a second listing."""
    library.list()
    [tag(model) for model in library.list()]
    profiler = cProfile.Profile()
    profiler.enable()
    [tag(model) for model in library.list()]
    profiler.disable()
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(25)


if __name__ == "__main__":
    main()
