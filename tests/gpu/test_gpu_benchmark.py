"""The benchmark for GPUs: its models of random weights, and a dry run on any device."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import gguf
import pytest

from jupyter_ollama.library.library import Library

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import prompts  # noqa: E402
import random_model  # noqa: E402
from bare import BareLoop  # noqa: E402
from limit import BareLoop as Limit  # noqa: E402
from random_weights import DECODERS, F32, Q4_K, Q6_K, Q8_0, decoder_tensors  # noqa: E402
from random_weights import random_weights as weights_of  # noqa: E402
from run import Comparison, Workload  # noqa: E402

SECONDS = 300
"""For a dry run. It takes 20 s of processor time, and starts a dozen processes."""


def run(folder: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """Run the benchmark on a tiny model; return its output and its result."""
    file = folder / "result.json"
    command = [sys.executable, "gpu.py", "--dry-run", "--alone", "--output", str(file), *arguments]
    done = subprocess.run(
        command, cwd=BENCHMARKS, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(file.read_text("utf-8"))


def test_a_dry_run_measures_every_part(tmp_path: Path) -> None:
    output, result = run(tmp_path)
    figures = result["figures"]
    for name, contenders in (
        ("1 streams: generating only, tokens/s", {"jupyter_ollama", "bare loop"}),
        ("8 streams: from request to end, tokens/s", {"jupyter_ollama", "bare loop"}),
        ("class of 16, new system prompt: total time, s", {"jupyter_ollama"}),
        ("model not loaded: time to the first token, s", {"jupyter_ollama"}),
        (
            "40 embeddings in one request, texts/s",
            {"jupyter_ollama", "bare loop", "batch of one"},
        ),
        ("16 accounts at once, prefixes shared: all: total time, s", {"jupyter_ollama"}),
    ):
        values = figures[name]
        assert values.keys() == contenders, name
        assert all(0 < value < math.inf for rounds in values.values() for value in rounds)
        assert f"| {name} |" in output
    assert figures["the model on GPUs, %"].keys() == {"jupyter_ollama"}
    one, rival, embedded = result["wanted"]
    for verdict in (one, embedded):
        assert verdict["ratio"] > 0
        assert verdict["reached"] == (verdict["ratio"] >= verdict["wanted"])
    assert (rival["rival"], rival["ratio"], rival["reached"]) == ("llama-server", None, False)
    assert "of llama-server: not measured, wanted 1.5: not reached" in output
    assert result["left_out"] == []
    assert result["seconds"].keys() == {"model", "streams", "embeddings", "accounts"}


def test_a_run_without_time_says_what_it_left_out(tmp_path: Path) -> None:
    output, result = run(tmp_path, "--minutes", "0")
    parts = [f"{part}: no time was left" for part in ("model", "streams", "embeddings", "accounts")]
    assert result["left_out"] == parts
    assert result["figures"] == {}
    assert all(f"- {part}" in output for part in parts)


def test_a_backend_that_cannot_be_used_ends_the_run(tmp_path: Path) -> None:
    missing = str(tmp_path / "libggml-none.so")
    done = subprocess.run(
        [sys.executable, "gpu.py", "--dry-run", "--alone"],
        cwd=BENCHMARKS,
        env={**os.environ, "GGML_BACKEND_PATH": missing},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert f"Error: {missing}: " in done.stderr


def test_a_part_that_hangs_is_stopped(tmp_path: Path) -> None:
    script = """
import asyncio, sys, time
from pathlib import Path
import gpu, gpu_parts

gpu_parts.LATE = 0.2
benchmark = gpu_parts.Benchmark(gpu.DRY, Path(sys.argv[1]), 1.0)
parts = {"sleep": lambda end: time.sleep(60), "loop": lambda end: asyncio.run(asyncio.sleep(60))}
for name, part in parts.items():
    benchmark._try(name, part, time.monotonic())
print(*benchmark.samples.notes, sep="\\n")
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, timeout=50)
    assert done.stdout.splitlines() == [
        f"{part}: stopped, a workload took longer than the time for all"
        for part in ("sleep", "loop")
    ], done.stderr


async def test_a_comparison_names_the_rounds_that_it_left_out() -> None:
    comparison = Comparison([], BareLoop(Path()), math.inf)
    calls = count()

    async def nothing(one: object, tag: str) -> dict[str, float]:
        return {}

    chosen = [Workload("first", nothing), Workload("second", nothing)]
    await comparison.run(chosen, 3, lambda: next(calls) == 3)
    assert comparison.samples.notes == [
        "first: 2 of 3 rounds, the time was up",
        "second: 1 of 3 rounds, the time was up",
    ]


@pytest.mark.parametrize("kind", [F32, Q4_K, Q6_K, Q8_0])
def test_random_blocks_are_weights_of_the_wanted_size(kind: gguf.GGMLQuantizationType) -> None:
    import numpy as np

    data = weights_of(kind, 256 * 1000, 0.01, np.random.default_rng(1))
    values = data if kind == F32 else gguf.quants.dequantize(data, kind)
    assert values.size == 256 * 1000
    assert np.std(values) == pytest.approx(0.01, rel=0.02)
    # Whole numbers from -32 to 31, as those of Q6_K, have the mean -0.5.
    assert abs(np.mean(values)) < 0.03 * 0.01


def test_the_large_model_has_the_size_of_llama_3() -> None:
    shape = DECODERS["8b"]
    tensors = decoder_tensors(shape, random_model.SILENT)
    assert sum(tensor.rows * tensor.width for tensor in tensors) == 8_030_261_248
    assert random_model.size("8b") == pytest.approx(4.92e9, rel=0.01)


def test_a_random_model_answers_and_does_not_end_by_itself(tmp_path: Path) -> None:
    path = random_model.register(Library.open(tmp_path), "random", DECODERS["tiny"])
    loop = Limit(str(path), 8, 8192, 1)
    report = loop.run(prompts.stories("1.0", 8), 128)
    assert report["before_end"] == [128] * 8
    # The length of the prompts, as a vocabulary of a real model of this size splits them.
    assert all(30 <= length <= 48 for length in report["prompt_tokens"])
    assert 350 <= len(loop.tokenize(prompts.classroom("1.0")[0])) <= 450
