"""Mixtures of experts: dense parts of layers on a GPU, experts on the host if memory is short."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from gpus import gpu, planned
from ollama_layout import unpack
from runners import running
from tiny_experts import EXPERT_BYTES, LAYERS, write_experts

from jupyter_ollama.engine.devices import Device
from jupyter_ollama.engine.events import Text
from jupyter_ollama.engine.footprint import Demand, Weights
from jupyter_ollama.engine.memory_plan import GPU_RESERVE, MemoryShortage, Placement, place
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.layout.model_file import ModelFile
from jupyter_ollama.options import Options

MIB = 2**20

# A dense layer, and nine of 100 MiB of which experts take 80. Each has 10 MiB of cache.
WEIGHTS = Weights(
    layers=(20 * MIB, *[100 * MIB] * 9),
    input=50 * MIB,
    output=50 * MIB,
    output_on_gpu=50 * MIB,
    experts=(0, *[80 * MIB] * 9),
)
DEMAND = Demand(cache=100 * MIB, compute=40 * MIB, outputs=5 * MIB, divided=60 * MIB)
ON_GPU = (20 + 900 + 50 + 100 + 40) * MIB
SMALL = {"num_ctx": 256, "num_parallel": 1, "num_batch": 64}


def gpu_of(size: int) -> Device:
    return Device("GPU", size + GPU_RESERVE, 2**40, is_cpu=False)


def cpu_of(size: int = 2**40) -> Device:
    return Device("CPU", size, 2**40, is_cpu=True)


def on_gpu(experts: int) -> int:
    """The bytes on a GPU with all layers, so many of which have their experts on the host."""
    return ON_GPU + 20 * MIB - experts * 80 * MIB


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experts(tmp_path_factory.mktemp("experts") / "experts.gguf")


async def say(runner: RunnerClient) -> str:
    prompt = RawPrompt("Once upon a time there was a lighthouse, and " * 4)
    options = Options(temperature=0, num_predict=24)
    answer = runner.generate(prompt, options, stream=False)
    return "".join([event.text async for event in answer if isinstance(event, Text)])


def test_as_few_experts_as_needed_stay_on_the_host() -> None:
    assert place(WEIGHTS, DEMAND, [gpu_of(ON_GPU), cpu_of()]) == Placement((11,))
    # The first layer is dense. Experts on the host make the compute buffers larger.
    for count in range(1, 10):
        placement = place(WEIGHTS, DEMAND, [gpu_of(on_gpu(count)), cpu_of()])
        assert placement == Placement((11,), is_full=False, cpu_experts=1 + count)
        host, gpus = placement.needs(WEIGHTS, DEMAND)
        assert gpus == [on_gpu(count)]
        assert host == (50 + count * 80 + 60 + 5) * MIB
    # Whole layers stay on the host only where no experts are left on the GPU.
    placement = place(WEIGHTS, DEMAND, [gpu_of(on_gpu(9) - 1), cpu_of()])
    assert placement == Placement((3,), is_full=False)


def test_a_host_without_memory_for_experts_is_reported() -> None:
    with pytest.raises(MemoryShortage, match="system memory"):
        place(WEIGHTS, DEMAND, [gpu_of(on_gpu(3)), cpu_of(300 * MIB)])


def test_models_without_experts_ignore_the_option() -> None:
    dense = replace(WEIGHTS, experts=())
    assert place(dense, DEMAND, [gpu_of(ON_GPU), cpu_of()], num_cpu_moe=5) == Placement((11,))
    assert place(WEIGHTS, DEMAND, [cpu_of()], num_cpu_moe=5) == Placement()


def test_num_cpu_moe_is_obeyed() -> None:
    big = [gpu_of(ON_GPU), cpu_of()]
    assert place(WEIGHTS, DEMAND, big, num_cpu_moe=3) == Placement((11,), cpu_experts=3)
    assert place(WEIGHTS, DEMAND, big, num_cpu_moe=99) == Placement((11,), cpu_experts=10)
    # The first layer has none.
    assert place(WEIGHTS, DEMAND, big, num_cpu_moe=1) == Placement((11,))
    # Layers leave the GPU whole: the last two with the output layer remain.
    few = [gpu_of((2 * 110 + 50 + 40) * MIB), cpu_of()]
    assert place(WEIGHTS, DEMAND, few, num_cpu_moe=0) == Placement((3,), is_full=False)
    placement = place(WEIGHTS, DEMAND, few, num_cpu_moe=10)
    assert placement == Placement((7,), is_full=False, cpu_experts=10)


def test_num_gpu_is_obeyed_with_experts_on_the_host() -> None:
    devices = [gpu_of(on_gpu(4)), cpu_of()]
    placement = place(WEIGHTS, DEMAND, devices, num_gpu=99)
    assert placement == Placement((11,), is_full=False, cpu_experts=5)
    # Of four layers, the experts of the first, which is the eighth of the model.
    devices = [gpu_of((30 + 2 * 110 + 50 + 60) * MIB), cpu_of()]
    placement = place(WEIGHTS, DEMAND, devices, num_gpu=4)
    assert placement == Placement((4,), is_full=False, cpu_experts=8)
    with pytest.raises(MemoryShortage, match="GPU memory") as caught:
        place(WEIGHTS, DEMAND, [gpu_of(100 * MIB), cpu_of()], num_gpu=4)
    assert caught.value.required == (3 * 30 + 50 + 60) * MIB


def test_light_layers_share_gpus_by_their_bytes() -> None:
    remote = [replace(gpu_of(size * MIB), is_remote=True) for size in (500, 500)]
    placement = place(WEIGHTS, DEMAND, [*remote, cpu_of()])
    host, gpus = placement.needs(WEIGHTS, DEMAND)
    assert (placement.gpu_layers, placement.cpu_experts) == (11, 5)
    assert placement.shares == (7, 4)
    assert max(gpus) < 500 * MIB
    assert host == (50 + 4 * 80 + 60 + 5) * MIB


@pytest.mark.parametrize(
    ("name", "tensors"), [("gptoss", 6), ("glm4moelite", 3), ("nemotron-h-moe", 2)]
)
def test_experts_of_a_header(name: str, tensors: int, tmp_path: Path) -> None:
    """Their biases count, and shared experts do not."""
    header = ModelFile(unpack(name, tmp_path)).header
    weights = Weights.of(header)
    routed = [tensor for tensor in header.tensors if "_exps." in tensor.name]
    layers = {tensor.name.split(".")[1] for tensor in routed}
    assert len(routed) == tensors * len(layers)
    assert {str(layer) for layer, size in enumerate(weights.experts) if size} == layers
    left = weights.without([int(layer) for layer in layers])
    assert not any(left.experts)
    assert all(part <= whole for part, whole in zip(weights.experts, weights.layers, strict=True))


@pytest.mark.parametrize("kept", [0, 1, 4, LAYERS])
def test_the_plan_is_what_llama_cpp_allocates(experts: Path, kept: int) -> None:
    size = (LAYERS - kept) * EXPERT_BYTES + 9 * MIB
    with gpu(size) as device:
        found = planned(experts, **device.spec, **SMALL)
    assert (found.shares, found.cpu_experts) == ([LAYERS + 1], kept)
    assert found.is_full == (kept == 0)
    assert found.gpus <= size
    for plan, reported in (
        (found.host, found.reported_host),
        (found.gpus, found.reported_gpus),
    ):
        assert abs(plan - reported) < max(0.05 * reported, MIB)


async def test_experts_on_the_host_leave_the_answer_as_it_is(experts: Path) -> None:
    async with running(experts, **SMALL) as runner:
        expected = await say(runner)
        assert runner.ready.placement == ""
    for kept in (0, 2, LAYERS):
        with gpu((LAYERS - kept) * EXPERT_BYTES + 9 * MIB) as device:
            before = device.worker.memory
            async with running(experts, **device.spec, **SMALL) as runner:
                assert await say(runner) == expected
                more = device.worker.memory - before
                assert abs(more - runner.ready.size_vram) < max(0.05 * more, 8 * MIB)
                on_host = runner.ready.size - runner.ready.size_vram
                assert abs(on_host - kept * EXPERT_BYTES) < 4 * MIB
                assert ("experts" in runner.ready.placement) == (kept > 0)


async def test_a_request_chooses_the_layers(experts: Path) -> None:
    with gpu(2**30) as device:
        async with running(experts, **device.spec, **SMALL, num_cpu_moe=2) as runner:
            text = "of 7 layers 7 on RPC0, the experts of the first 2 on the host"
            assert runner.ready.placement == text
            on_host = runner.ready.size - runner.ready.size_vram
            assert abs(on_host - 2 * EXPERT_BYTES) < 4 * MIB
    with gpu(2 * EXPERT_BYTES + 9 * MIB) as device:
        found = planned(experts, **device.spec, **SMALL, num_gpu=99)
        assert (found.shares, found.cpu_experts) == ([LAYERS + 1], LAYERS - 2)
        found = planned(experts, **device.spec, **SMALL, num_cpu_moe=0)
        assert (found.shares, found.cpu_experts) == ([3], 0)


@pytest.mark.parametrize("name", ["gptoss", "glm4moelite", "qwen3next", "nemotron-h-moe"])
async def test_models_of_ollamas_layout(name: str, tmp_path: Path) -> None:
    path = unpack(name, tmp_path)
    async with running(path, **SMALL) as runner:
        expected = await say(runner)
    with gpu(2**30) as device:
        for kept in (0, 2, 99):
            async with running(path, **device.spec, **SMALL, num_cpu_moe=kept) as runner:
                assert ("experts" in runner.ready.placement) == (kept > 0)
                assert await say(runner) == expected
