"""What models that differ in their LoRA adapters cost in one runner, against a runner for each.

    python benchmarks/adapters.py [MODEL.gguf] [--adapters 4] [--rank 16] [--rounds 5]

Without a file the model is smollm2 of the store (OLLAMA_MODELS). The adapters are random, for all
matrices of all layers. Prints the memory and the time of loading the model itself and all adapters,
the time of a change of adapters, and for two streams with the same and with different adapters the
tokens a second and the pauses between texts. Rounds of all kinds alternate; numbers are medians.
"""

from __future__ import annotations

import os

# Read by OpenMP when it is loaded: see jupyter_ollama.engine.runner_process.ENVIRONMENT.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import psutil

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.adapted_runner import AdaptedRunner
from jupyter_ollama.engine.batch import Batch
from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.protocol import LoadSpec, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.library.gguf import read_header
from jupyter_ollama.options import Options

TOKENS = 200
MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def main() -> None:
    """Write adapters, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--adapters", type=int, default=4)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    model = arguments.model or OllamaServer().library.find("smollm2").model_path
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            write_adapter(model, Path(folder, f"{seed}.gguf"), arguments.rank, seed)
            for seed in range(arguments.adapters)
        ]
        size = paths[0].stat().st_size / 2**20
        print(f"{model.stat().st_size / 2**20:.0f} MiB, {len(paths)} adapters of {size:.1f} MiB\n")
        asyncio.run(measure(model, paths, arguments.rounds))
        print_changes(model, paths[:2])


def write_adapter(model: Path, path: Path, rank: int, seed: int) -> Path:
    """Write an adapter in F16 for all layers."""
    header = read_header(model)
    writer = gguf.GGUFWriter(path, header.architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", rank)
    rng = np.random.default_rng(seed)
    for tensor in header.tensors:
        if not any(f".{name}.weight" in tensor.name for name in MATRICES):
            continue
        inputs, outputs = tensor.shape
        for part, shape in (("lora_a", (rank, inputs)), ("lora_b", (outputs, rank))):
            values = rng.normal(scale=0.01, size=shape).astype(np.float16)
            writer.add_tensor(f"{tensor.name}.{part}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@asynccontextmanager
async def runners(model: Path, sets: Sequence[Sequence[Path]]) -> AsyncIterator[list[RunnerClient]]:
    """Start a runner for each list, with the adapters of the list as the sets 1, 2 and so on."""
    started: list[RunnerClient] = []
    try:
        for paths in sets:
            spec = LoadSpec(model=str(model), num_ctx=2048, adapters=tuple(map(str, paths)))
            started.append(await RunnerClient.start(spec, 600))
            for number, path in enumerate(paths, 1):
                await started[-1].load_adapters(number, [str(path)])
        yield started
    finally:
        for runner in started:
            await runner.stop()


async def measure(model: Path, paths: list[Path], rounds: int) -> None:
    """Print the cost of loading, then the speeds."""
    print("| | load s | memory of the processes, MiB | of them llama.cpp's buffers, MiB |")
    print("|---|---|---|---|")
    ways: dict[str, list[list[Path]]] = {
        "one runner": [paths],
        "a runner for each model": [[], *([path] for path in paths)],
    }
    for name, sets in ways.items():
        start = time.perf_counter()
        async with runners(model, sets) as started:
            seconds = time.perf_counter() - start
            await asyncio.gather(*(speak(AdaptedRunner(one, 0), 8) for one in started))
            memory = sum(psutil.Process(one.pid).memory_full_info().pss for one in started)
            buffers = sum(one.ready.size for one in started)
        print(f"| {name} | {seconds:.1f} | {memory / 2**20:.0f} | {buffers / 2**20:.0f} |")
    async with runners(model, [paths]) as (runner,):
        await print_speeds(runner, rounds)


async def print_speeds(runner: RunnerClient, rounds: int) -> None:
    """Print the speed of two streams of each kind."""
    kinds = {"no adapters": (0, 0), "the same adapter": (1, 1), "two adapters": (1, 2)}
    kinds["an adapter and none"] = (1, 0)
    speeds: dict[str, list[float]] = {name: [] for name in kinds}
    pauses: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, numbers in kinds.items():
            start = time.perf_counter()
            found = await asyncio.gather(*(speak(AdaptedRunner(runner, n)) for n in numbers))
            seconds = time.perf_counter() - start
            speeds[name].append(sum(tokens for tokens, _ in found) / seconds)
            pauses[name].append(max(pause for _, pause in found))
    print("\n| two streams | tokens a second | longest pause, ms |\n|---|---|---|")
    for name in kinds:
        speed, pause = statistics.median(speeds[name]), statistics.median(pauses[name])
        print(f"| {name} | {speed:.0f} | {1000 * pause:.0f} |")


async def speak(runner: AdaptedRunner, tokens: int = TOKENS) -> tuple[int, float]:
    """Stream an answer; return its tokens and the longest time between two of its texts."""
    options = Options(temperature=0, num_predict=tokens, repetition_stop=False, num_ctx=2048)
    times: list[float] = []
    prompt = RawPrompt(f"Once upon a time, at {time.time()}, ")
    async for event in runner.generate(prompt, options):
        if isinstance(event, Text):
            times.append(time.perf_counter())
        elif isinstance(event, Done):
            between = [after - before for before, after in pairwise(times)]
            return event.eval_count, max(between, default=0.0)
    raise AssertionError("no Done")


def print_changes(model: Path, paths: list[Path]) -> None:
    """Print what a change of adapters adds to the processor time of a step."""
    loaded = ModelLoader(LoadSpec(model=str(model), num_ctx=2048, num_thread=1))
    context = loaded.generation_context()
    for number, path in enumerate(paths, 1):
        loaded.load_adapters(number, [str(path)])
    batch = Batch(context.batch)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for step in range(80):
        is_changed = context.apply(1 + step // 2 % 2)
        batch.clear()
        batch.add([loaded.model.filler_token], step, 0, outputs="last")
        start = time.process_time()
        context.decode(batch)
        context.logits(0)
        seconds[is_changed].append(time.process_time() - start)
    changed, same = (1000 * statistics.median(seconds[is_changed]) for is_changed in (True, False))
    print(f"\nA step of one token takes {same:.1f} ms of a core, after a change {changed:.1f} ms.")


if __name__ == "__main__":
    main()
