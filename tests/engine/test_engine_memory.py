"""The memory plan: arithmetic on fictitious devices, and estimates compared with allocations."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from psutil import Process
from runners import running
from tiny_recurrent import write_recurrent

from jupyter_ollama.engine.devices import Device
from jupyter_ollama.engine.footprint import Demand, Weights, cache_bytes_per_token
from jupyter_ollama.engine.memory_plan import (
    GPU_RESERVE,
    PROCESS_BYTES,
    MemoryShortage,
    Placement,
    place,
    plan,
)
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.runner_failures import LoadRefused
from jupyter_ollama.library.gguf import read_header
from jupyter_ollama.library.library import Library

MIB = 2**20

# Ten layers of 100 MiB and 10 MiB of cache each; the output layer shares its table with the input.
WEIGHTS = Weights(layers=(100 * MIB,) * 10, input=50 * MIB, output=0, output_on_gpu=50 * MIB)
DEMAND = Demand(cache=100 * MIB, compute=40 * MIB, outputs=5 * MIB)
ON_HOST = (1000 + 50 + 100 + 40 + 5) * MIB
ON_GPU = (1000 + 50 + 100 + 40) * MIB


def cpu(free: int = 2**40) -> Device:
    return Device("CPU", free, 2**40, is_cpu=True)


def gpu(free: int) -> Device:
    """A GPU with so many free bytes besides its reserve."""
    return Device("GPU", free + GPU_RESERVE, 2**40, is_cpu=False)


def shares(*devices: Device, **wishes: object) -> tuple[int, ...]:
    return place(WEIGHTS, DEMAND, devices, **wishes).shares


def test_without_a_gpu_all_is_on_the_host() -> None:
    assert Placement().needs(WEIGHTS, DEMAND) == (ON_HOST, [])
    assert shares(cpu(ON_HOST + PROCESS_BYTES)) == ()
    # Options for GPUs have no effect here.
    assert shares(cpu(), num_gpu=99, main_gpu=3, tensor_split=[1, 1]) == ()


def test_a_model_that_does_not_fit_the_host_is_refused_with_the_numbers() -> None:
    with pytest.raises(MemoryShortage) as caught:
        shares(cpu(2**30))
    assert str(caught.value) == (
        "model requires more system memory (1.3 GiB) than is available (1.0 GiB)"
    )
    assert caught.value.required == ON_HOST + PROCESS_BYTES
    assert caught.value.available == 2**30


def test_a_model_that_fits_one_gpu_goes_to_one() -> None:
    assert shares(gpu(ON_GPU), cpu()) == (11,)
    assert shares(gpu(ON_GPU - 1), gpu(ON_GPU), cpu()) == (0, 11)
    assert shares(gpu(ON_GPU), gpu(2 * ON_GPU), cpu()) == (11, 0)
    assert shares(gpu(ON_GPU), gpu(ON_GPU), cpu(), main_gpu=1) == (0, 11)
    # A main_gpu that is missing or too small is ignored.
    assert shares(gpu(ON_GPU), cpu(), main_gpu=7) == (11,)
    assert place(WEIGHTS, DEMAND, [gpu(ON_GPU), gpu(0), cpu()]).only_gpu == 0


def test_layers_are_split_over_gpus_and_the_host_takes_the_rest() -> None:
    # 40 MiB go to compute buffers, 110 to each layer.
    assert shares(gpu(40 * MIB + 330 * MIB), gpu(1200 * MIB), cpu()) == (0, 11)
    assert shares(gpu(370 * MIB), gpu(1000 * MIB), cpu()) == (3, 8)
    placement = place(WEIGHTS, DEMAND, [gpu(370 * MIB), gpu(260 * MIB), cpu()])
    assert placement.shares == (3, 2)
    assert placement.only_gpu is None
    assert not placement.is_full
    host, on_gpus = placement.needs(WEIGHTS, DEMAND)
    # The last GPU has the output layer, which weighs less.
    assert on_gpus == [(40 + 330) * MIB, (40 + 110 + 50) * MIB]
    assert host == (50 + 6 * 110 + 40 + 5) * MIB
    assert shares(gpu(30 * MIB), cpu()) == ()


def test_a_host_with_too_little_memory_for_its_part_is_reported() -> None:
    with pytest.raises(MemoryShortage, match="system memory"):
        shares(gpu(370 * MIB), cpu(600 * MIB))


def test_num_gpu_is_obeyed_or_refused() -> None:
    assert shares(gpu(ON_GPU), cpu(), num_gpu=0) == ()
    assert shares(gpu(ON_GPU), cpu(), num_gpu=4) == (4,)
    assert shares(gpu(ON_GPU), cpu(), num_gpu=99) == (11,)
    assert place(WEIGHTS, DEMAND, [gpu(ON_GPU), cpu()], num_gpu=4).is_full
    with pytest.raises(MemoryShortage, match="more GPU memory") as caught:
        shares(gpu(200 * MIB), cpu(), num_gpu=4)
    assert caught.value.required == (3 * 110 + 50 + 40) * MIB
    assert caught.value.available == 200 * MIB


def test_remote_devices_take_their_part_of_the_free_memory() -> None:
    def remote(free: int) -> Device:
        return replace(gpu(free), is_remote=True)

    big = 10 * ON_GPU
    assert shares(remote(big), remote(big // 2), cpu()) == (8, 3)
    # The layers are distributed although one device could hold all.
    assert shares(remote(big), gpu(big), cpu()) == (6, 5)
    # In a tensor_split the parts of this host are first, unlike in llama.cpp's order.
    assert shares(remote(big), gpu(big), cpu(), tensor_split=[3, 1]) == (3, 8)
    assert shares(remote(big), remote(big), cpu(), tensor_split=[3, 1]) == (9, 2)
    assert shares(remote(260 * MIB), gpu(370 * MIB), cpu()) == (2, 3)


def test_tensor_split_sets_the_part_of_each_gpu() -> None:
    big = 10 * ON_GPU
    assert shares(gpu(big), gpu(big), cpu(), tensor_split=[1, 1]) == (6, 5)
    assert shares(gpu(big), gpu(big), cpu(), tensor_split=[3, 1]) == (9, 2)
    assert shares(gpu(big), gpu(big), cpu(), tensor_split=[0, 1]) == (0, 11)
    assert shares(gpu(big), gpu(big), cpu(), tensor_split=[1]) == (11, 0)
    assert shares(gpu(big), gpu(big), cpu(), tensor_split=[1, 1], num_gpu=4) == (2, 2)
    # Fewer layers are placed if the requested parts do not fit.
    assert shares(gpu(big), gpu(260 * MIB), cpu(), tensor_split=[1, 1]) == (3, 2)


@dataclass
class Contexts:
    """Estimates of a cache of so many MiB a context; ``tried`` are the choices measured."""

    mib: int
    rough_factor: int

    def __post_init__(self) -> None:
        self.tried: list[int] = []

    def rough(self, choice: int) -> Demand:
        return Demand(choice * self.mib * MIB * self.rough_factor, 0, 0)

    def measured(self, choice: int) -> Demand:
        self.tried.append(choice)
        return Demand(choice * self.mib * MIB, 0, 0)


@pytest.mark.parametrize(
    ("mib", "rough_factor", "contexts", "trials"),
    [
        (50, 1, 4, []),  # twice the rough demand is within a quarter of 2000 MiB
        (100, 1, 4, [4]),  # it is not, but the demand itself is
        (100, 9, 4, [4]),  # so it is for a rough demand far off
        (200, 1, 2, [4, 3, 2]),  # a quarter holds two
        (900, 1, 1, [4, 3, 2, 1, 1]),  # the last one may take all that is left
    ],
)
def test_contexts_shrink_to_a_quarter_of_the_memory_but_not_below_one(
    mib: int, rough_factor: int, contexts: int, trials: list[int]
) -> None:
    devices = [cpu(2000 * MIB)]
    estimates = Contexts(mib, rough_factor)

    def fit(demand: Demand) -> Placement:
        return place(Weights((500 * MIB,)), demand, devices)

    assert plan([4, 3, 2, 1], estimates, fit, devices) == (Placement(), contexts)
    assert estimates.tried == trials


def test_contexts_shrink_before_layers_leave_the_gpu() -> None:
    devices = [gpu(ON_GPU), cpu()]

    def fit(demand: Demand) -> Placement:
        return place(WEIGHTS, demand, devices)

    placement, contexts = plan([4, 3, 2, 1], Contexts(60, 1), fit, devices)
    assert (placement.shares, contexts) == ((11,), 2)


def test_one_context_that_does_not_fit_is_refused() -> None:
    devices = [cpu(2000 * MIB)]
    with pytest.raises(MemoryShortage):
        plan([4, 1], Contexts(2000, 1), lambda d: place(WEIGHTS, d, devices), devices)


def test_bytes_of_a_token_in_the_kv_cache(smollm2: Path) -> None:
    header = read_header(smollm2)
    # 30 layers, 3 heads of 64 keys and 64 values.
    assert cache_bytes_per_token(header, "f16") == 30 * 3 * (64 + 64) * 2
    assert cache_bytes_per_token(header, "q8_0") == 30 * 3 * (64 + 64) * 34 / 32


def test_weights_of_a_header(smollm2: Path) -> None:
    weights = Weights.of(read_header(smollm2), adapters=30 * MIB)
    assert len(weights.layers) == 30
    file = smollm2.stat().st_size
    assert 0.98 * file < weights.total - 30 * MIB < file
    # The table of 49,152 words is used twice, which a GPU needs a copy for.
    assert weights.output_on_gpu > weights.input > 0.1 * file


MEASURE = """
import json, sys
from jupyter_ollama.engine.estimate import Estimator
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.protocol import LoadSpec

def allocated():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))

before = allocated()
spec = json.loads(sys.argv[1])
loaded = ModelLoader(LoadSpec(use_mmap=False, **spec))
encoder = loaded.plan.is_encoder
context = loaded.embedding_context(spec["num_ctx"]) if encoder else loaded.generation_context()
taken = allocated() - before
shape = loaded.plan.shapes(spec["num_ctx"])[0]
kind = spec.get("kv_cache_type", "f16")
path = spec["model"]
estimator = Estimator(loaded.plan.file, loaded.log, kind, loaded.plan.make_context, gpu_layers=0)
demands = {"measured": estimator.measured(shape), "rough": estimator.rough(shape)}
found = {k: loaded.plan.placement.needs(loaded.plan.weights, d)[0] for k, d in demands.items() if d}
found |= {"taken": taken, "reported": loaded.log.host_bytes}
print(json.dumps(found | {"parallel": loaded.plan.parallel, "sequences": context.max_sequences}))
"""


def measure(path: Path, **spec: object) -> dict[str, int]:
    """Load a model in a process of its own; return bytes estimated, reported and allocated."""
    command = [sys.executable, "-c", MEASURE, json.dumps({"model": str(path), **spec})]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    found: dict[str, int] = json.loads(run.stdout)
    return found


def assert_true_estimate(found: dict[str, int]) -> None:
    assert abs(found["measured"] - found["reported"]) < max(0.02 * found["reported"], 2 * MIB)
    # The operating system counts the vocabulary and the threads as well.
    assert found["measured"] < found["taken"] < found["measured"] + PROCESS_BYTES
    assert found["measured"] < found["rough"]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"kv_cache_type": "q8_0"},
        {"flash_attention": False, "num_batch": 64},
    ],
    ids=["default", "quantized cache", "no flash attention"],
)
def test_the_estimate_is_what_smollm2_takes(smollm2: Path, how: dict[str, object]) -> None:
    assert_true_estimate(measure(smollm2, num_ctx=2048, **how))


def test_the_estimate_is_what_gemma3_takes(gemma3_library: Library) -> None:
    path = gemma3_library.find("gemma3").model_path
    assert_true_estimate(measure(path, num_ctx=1024, num_batch=64))


def test_the_estimate_is_what_minilm_takes(minilm: Path) -> None:
    assert_true_estimate(measure(minilm, num_ctx=512))


def test_every_sequence_of_a_recurrent_model_owns_a_state(tmp_path: Path) -> None:
    path = write_recurrent(tmp_path / "recurrent.gguf")
    few = measure(path, num_ctx=256, num_parallel=2)
    many = measure(path, num_ctx=256, num_parallel=100)
    assert (few["parallel"], few["sequences"]) == (2, 4)
    assert (many["parallel"], many["sequences"]) == (100, 200)
    for found in (few, many):
        assert abs(found["measured"] - found["reported"]) < 0.05 * found["reported"]
        assert "rough" not in found
    # Two layers with 512 x 64 float32 of state each.
    assert many["measured"] - few["measured"] > 196 * 2 * 512 * 64 * 4


@pytest.mark.parametrize(("parallel", "sequences"), [(0, 64), (40, 88), (300, 256)])
def test_ids_are_left_for_prefixes(smollm2: Path, parallel: int, sequences: int) -> None:
    found = measure(smollm2, num_ctx=64, num_parallel=parallel)
    assert found["parallel"] == min(parallel or 16, 256)
    assert found["sequences"] == sequences


async def test_weights_that_are_mapped_and_reordered_count_once(smollm2: Path) -> None:
    sizes = []
    for use_mmap in (True, False):
        async with running(smollm2, use_mmap=use_mmap, num_ctx=512) as runner:
            sizes.append(runner.ready.size)
    assert abs(sizes[0] - sizes[1]) < 2 * MIB


async def test_a_context_that_no_host_holds_is_refused_before_it_is_made(smollm2: Path) -> None:
    message = "model requires more system memory .* than is available"
    with pytest.raises(LoadRefused, match=message) as caught:
        await RunnerClient.start(LoadSpec(model=str(smollm2), num_ctx=10**9), load_timeout=20)
    # 22.5 KiB of cache a token and 1 KiB of mask, less what the host has.
    assert 20e12 < caught.value.shortage < 26e12


async def test_the_mapped_pages_of_copied_weights_are_returned(smollm2: Path) -> None:
    async with running(smollm2, num_ctx=256) as runner:
        mapped = [one.rss for one in Process(runner.pid).memory_maps() if Path(one.path) == smollm2]
    assert mapped, "the file is not mapped"
    assert sum(mapped) < smollm2.stat().st_size / 2
