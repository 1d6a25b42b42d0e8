"""The cost of loading a model in Ollama's layout, against the same weights in llama.cpp's own.

Usage: python benchmarks/layout.py [--megabytes 1000] [--rounds 5]

A model of random weights is written twice: for llama.cpp, which maps the file, and as Ollama
publishes such models, which takes a translated view. Each load is a process of its own, with the
files in the page cache. Prints the processor time and the anonymous memory of both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np

WIDTH, INNER, HEADS, WORDS = 2048, 8192, 16, 32000
ARCHITECTURES = {"llama.cpp's layout": "qwen2vl", "Ollama's layout": "qwen25vl"}
BLOCK = np.dtype([("scale", np.float16), ("values", np.uint8, 16)])
"""32 weights of type Q4_0."""

LOAD = """
import json, os, sys
from jupyter_ollama.engine.llama_log import LlamaLog
from jupyter_ollama.engine.llama_model import LlamaModel
log = LlamaLog()
before = os.times()
model = LlamaModel(sys.argv[1])
after = os.times()
rollup = open("/proc/self/smaps_rollup").read()
kilobytes = {line.split()[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
print(json.dumps({
    "cpu": after.user + after.system - before.user - before.system,
    "anonymous": kilobytes["Anonymous:"] / 1024,
    "resident": kilobytes["Rss:"] / 1024,
}))
"""


def main() -> None:
    """Write the models, load them in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, f"{kind}.gguf") for name, kind in ARCHITECTURES.items()}
        for name, path in paths.items():
            write(path, ARCHITECTURES[name], arguments.megabytes)
        size = path.stat().st_size / 2**20
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in paths}
        for number in range(arguments.rounds + 1):
            for name, path in paths.items():
                measured = load(path)
                if number:  # the first load fills the page cache
                    runs[name].append(measured)
    print(f"{size:.0f} MiB, medians of {arguments.rounds} loads (least to most)\n")
    print("| | processor s | anonymous MiB | resident MiB |\n|---|---|---|---|")
    for name, found in runs.items():
        print(f"| {name} | " + " | ".join(spread(found, key) for key in found[0]) + " |")
    ours, plain = runs["Ollama's layout"], runs["llama.cpp's layout"]
    ratios = [f"{median(ours, key) / median(plain, key):.2f}" for key in ours[0]]
    print(f"| ratio | {' | '.join(ratios)} |")


def load(path: Path) -> dict[str, float]:
    """Load a model in a new process and return its cost."""
    command = [sys.executable, "-c", LOAD, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def median(runs: list[dict[str, float]], key: str) -> float:
    """Return the median of a figure."""
    return statistics.median(run[key] for run in runs)


def spread(runs: list[dict[str, float]], key: str) -> str:
    """Return a figure's median, least and most as text."""
    values = [run[key] for run in runs]
    return f"{median(runs, key):.2f} ({min(values):.2f} to {max(values):.2f})"


def write(path: Path, architecture: str, megabytes: int) -> None:
    """Write a model of Q4_0 weights of about a size."""
    matrices = {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (WIDTH, WIDTH),
        "attn_v": (WIDTH, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (INNER, WIDTH),
        "ffn_up": (INNER, WIDTH),
        "ffn_down": (WIDTH, INNER),
    }
    per_layer = sum(rows * columns for rows, columns in matrices.values()) * BLOCK.itemsize // 32
    layers = max(1, round(megabytes * 2**20 / per_layer))
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(2048)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(layers)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_sections([16, 24, 24, 0])
    writer.add_array(f"{architecture}.rope.mrope_section", [16, 24, 24])
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"w{number}" for number in range(WORDS)])
    writer.add_token_scores([0.0] * WORDS)
    writer.add_token_types([1] * WORDS)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    random = np.random.default_rng(0)

    def add_matrix(name: str, rows: int, columns: int) -> None:
        blocks = np.empty((rows, columns // 32), BLOCK)
        blocks["scale"] = 0.01
        blocks["values"] = random.integers(0, 256, (*blocks.shape, 16), np.uint8)
        data = blocks.view(np.uint8).reshape(rows, -1)
        writer.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    add_matrix("token_embd.weight", WORDS, WIDTH)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(layers):
        for name, (rows, columns) in matrices.items():
            add_matrix(f"blk.{layer}.{name}.weight", rows, columns)
        for part in "qkv":
            writer.add_tensor(f"blk.{layer}.attn_{part}.bias", np.zeros(WIDTH, np.float32))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
