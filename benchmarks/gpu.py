"""Measure jupyter_ollama on a GPU, beside llama-server and the bare loop on the same GPU.

    python benchmarks/gpu.py                    # ten minutes, and the builds before
    python benchmarks/gpu.py --dry-run          # a tiny model on any device, not kept

needs no model: it makes one of the shape of Llama 3.1 8B in Q4_K_M with random weights, and an
encoder of the shape of all-minilm. The GPU's backend is the installed one, or the one that
GGML_BACKEND_PATH names, or else it is built. llama-server is the one that LLAMA_SERVER names, or it
is built. Every part has a share of the time; a note states what it left out.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import class_of_accounts
import random_model
from backend import choose_backend, gpus
from contender import Setup
from gpu_parts import EMBEDDINGS, Amount, Benchmark
from llama_server import Failure, llama_server
from random_weights import DECODERS
from report import processor, report
from table import LIMIT, ONE_TEXT, Samples
from workloads import generating

HERE = Path(__file__).resolve().parent
MEMORY = 3
"""Contenders that hold the model at the same time."""
BESIDE = 3 << 29
"""Bytes of a GPU that a contender needs beside weights and KV cache, about."""

MINUTES = 10.0
WANTED = (
    (generating(1), LIMIT, 0.97),
    (generating(32), "llama-server", 1.5),
    (EMBEDDINGS, ONE_TEXT, 3.0),
)
"""Figures, rivals, and the least ratios that a release should reach on a GPU."""


DRY = Amount(
    "tiny",
    "tiny",
    Setup(num_ctx=512, parallel=16),
    predict=32,
    rounds=1,
    streams=(1, 8),
    texts=40,
    account_rounds=1,
    ways={"at once": 0.0},
    policies=("all",),
)


def whole(model: str) -> Amount:
    """Return the amount of a run that counts."""
    return Amount(
        model,
        "all-minilm",
        Setup(num_ctx=768, parallel=64),
        predict=128,
        rounds=5,
        streams=(1, 8, 32, 64),
        texts=2000,
        account_rounds=2,
        ways=class_of_accounts.WAYS,
        policies=class_of_accounts.POLICIES,
    )


def verdicts(samples: Samples) -> Iterator[dict[str, Any]]:
    """Yield each wanted ratio and whether it is reached; the ratio is None if it is unknown."""
    for name, rival, least in WANTED:
        figure = next((one for one in samples.figures if one.endswith(name)), name)
        ratios = samples.ratios(figure, rival)
        ratio = round(median(ratios), 3) if ratios else None
        reached = ratio is not None and ratio >= least
        yield {"figure": figure, "rival": rival, "wanted": least, "ratio": ratio} | {
            "reached": reached
        }


def say_verdict(one: Mapping[str, Any]) -> str:
    """Return a verdict as a line of Markdown."""
    ratio = "not measured" if one["ratio"] is None else f"{one['ratio']:.2f}"
    reached = "reached" if one["reached"] else "not reached"
    return f"- {one['figure']}, of {one['rival']}: {ratio}, wanted {one['wanted']}: {reached}"


def find_llama_server(*, build: bool) -> Path:
    """Return llama-server. Raises Failure if there is none, or if it does not see all GPUs."""
    binary = llama_server(build=build)
    command = [binary, "--list-devices"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Failure(f"{binary} does not run: {error}") from None
    if missing := [gpu["name"] for gpu in gpus() if gpu["name"] not in done.stdout]:
        raise Failure(f"{binary} does not see {', '.join(missing)}")
    return binary


def check_memory(amount: Amount) -> None:
    """End the program unless all contenders fit on the GPUs at the same time."""
    if not gpus():
        sys.exit("Error: llama.cpp finds no GPU: see `jupyter ollama doctor`, or use --dry-run")
    cache = DECODERS[amount.model].kv_bytes(amount.setup.cells)
    needed = MEMORY * (random_model.size(amount.model) + cache + BESIDE)
    free = sum(gpu["free"] for gpu in gpus())
    if free < needed:
        sys.exit(
            f"Error: --model {amount.model} needs {needed / 2**30:.0f} GiB of GPU memory, and "
            f"{free / 2**30:.0f} are free"
        )


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", choices=("8b", "1b"), default="8b", help="its shape (8b)")
    parser.add_argument("--backend", default="cuda", help="the one to build (cuda)")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all parts (10)")
    parser.add_argument("--alone", action="store_true", help="without llama-server")
    parser.add_argument("--folder", help="for 6 GB of models, removed at the end")
    parser.add_argument("--output", type=Path, help="file of the result (in results/)")
    parser.add_argument("--dry-run", action="store_true", help="a tiny model, on any device")
    return parser.parse_args()


class Record:
    """The result as JSON, written after every part, and by a run that is ended."""

    def __init__(self, arguments: argparse.Namespace, backend: str, benchmark: Benchmark) -> None:
        """Without ``--output`` a dry run is not kept."""
        self._benchmark = benchmark
        self._facts = {
            "date": date.today().isoformat(),
            "machine": processor(),
            "gpus": gpus(),
            "backend": backend,
            "dry_run": arguments.dry_run,
            "jupyter-ollama": version("jupyter-ollama"),
            "llama-cpp-python": version("llama-cpp-python"),
            "python": platform.python_version(),
            "shape": asdict(DECODERS[benchmark.amount.model]),
            "amount": asdict(benchmark.amount),
        }
        card = gpus()[0]["description"] if gpus() else "cpu"
        where = re.sub(r"\W+", "-", card).strip("-").lower()
        name = f"{date.today().isoformat()}-{where}-{benchmark.amount.model}-gpu.json"
        self.file = arguments.output or (None if arguments.dry_run else HERE / "results" / name)

    def write(self) -> None:
        """Write the results that exist so far."""
        if self.file is None:
            return
        measured = {
            "wanted": list(verdicts(self._benchmark.samples)),
            "figures": self._benchmark.samples.figures,
            "left_out": self._benchmark.samples.notes,
            "seconds": self._benchmark.took,
        }
        self.file.write_text(json.dumps(self._facts | measured, indent=1) + "\n", "utf-8")


def main() -> None:
    """Prepare, run all parts, print the table, write the result."""
    arguments = parse()
    # Otherwise the servers would outlive this process after SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped"))
    build = not arguments.dry_run
    amount = whole(arguments.model) if build else DRY
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        try:
            backend = choose_backend(arguments.backend, Path(folder, "backend"), build=build)
            if build:
                check_memory(amount)
        except (OSError, subprocess.SubprocessError) as error:
            sys.exit(f"Error: {error}")
        benchmark = Benchmark(amount, Path(folder), arguments.minutes * 60)
        samples, binary = benchmark.samples, None
        try:
            binary = None if arguments.alone else find_llama_server(build=build)
        except Failure as failure:
            samples.note(f"llama-server: {failure}")
        record = Record(arguments, backend, benchmark)
        benchmark.run(binary, record.write)
    title = f"Random weights in the shape {amount.model}, Q4_K_M, backend: {backend}"
    columns = [LIMIT, ONE_TEXT]
    noise, servers = benchmark.noise, benchmark.contenders
    print("", *report(samples, noise, servers, title, amount.rounds, columns), sep="\n")
    print("\nWanted:\n", *map(say_verdict, verdicts(samples)), sep="\n")
    if record.file:
        print(f"\nKept as {record.file}")


if __name__ == "__main__":
    main()
