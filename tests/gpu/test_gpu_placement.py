"""Layers on a device: how many, on which, and the memory that is reported for them."""

from __future__ import annotations

import asyncio
import os
import random
import re
from pathlib import Path

import pytest
from runners import running_on_gpu as running

MIB = 2**20
LAYERS = 3
"""Two repeating layers of the tiny model, and the output."""


def allocated(log: str) -> int:
    """Return the bytes of all buffers that ggml's Vulkan backend has made on its device.

    These are its own words. Host memory that the device can read has another type of buffer.
    """
    sizes = re.findall(r"memory: ggml_backend_vk_buffer_type_alloc_buffer\((\d+)\)", log)
    return sum(map(int, sizes))


@pytest.mark.parametrize("num_gpu", [-1, *range(LAYERS + 1), 99])
async def test_as_many_layers_as_asked_are_on_the_device(
    num_gpu: int, one_gpu: str, llama3: Path
) -> None:
    async with running(llama3, num_ctx=256, num_gpu=num_gpu, backends=(one_gpu,)) as runner:
        assert runner.gpu_layers == (LAYERS if num_gpu in (-1, 99) else num_gpu)
        assert (runner.ready.size_vram > 0) == (num_gpu != 0)
        async with asyncio.timeout(20):
            while not runner.memory.devices:  # noqa: ASYNC110 - the report follows the load
                await asyncio.sleep(0.05)
        assert [device.name for device in runner.memory.devices] == ["Vulkan0", "CPU"]


@pytest.mark.parametrize("num_gpu", [1, 2, 3])
async def test_the_memory_is_what_the_backend_has_allocated(
    num_gpu: int,
    one_gpu: str,
    llama3: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("GGML_VK_MEMORY_LOGGER", "1")
    caplog.set_level("DEBUG", "jupyter_ollama")  # whose level another test may have set
    spec = {"num_ctx": 4096, "num_gpu": num_gpu, "backends": (one_gpu,)}
    async with running(llama3, **spec) as runner:
        assert runner.ready.size_vram == pytest.approx(allocated(caplog.text), rel=0.05)


async def test_main_gpu_takes_a_model_that_fits_one(two_gpus: str, llama3: Path) -> None:
    for main_gpu in (0, 1):
        spec = {"num_ctx": 256, "main_gpu": main_gpu, "backends": (two_gpus,)}
        async with running(llama3, **spec) as runner:
            assert runner.ready.placement == f"of {LAYERS} layers {LAYERS} on Vulkan{main_gpu}"


async def test_a_split_divides_the_layers(two_gpus: str, llama3: Path) -> None:
    spec = {"num_ctx": 256, "tensor_split": (2.0, 1.0), "backends": (two_gpus,)}
    async with running(llama3, **spec) as runner:
        assert runner.ready.placement == "of 3 layers 2 on Vulkan0, 1 on Vulkan1"


async def test_a_model_is_spread_over_all_gpus(two_gpus: str, llama3: Path) -> None:
    spec = {"num_ctx": 256, "sched_spread": True, "backends": (two_gpus,)}
    async with running(llama3, **spec) as runner:
        assert re.fullmatch(r"of 3 layers [12] on Vulkan0, [12] on Vulkan1", runner.ready.placement)


async def test_random_splits_load_and_answer(two_gpus: str, llama3: Path) -> None:
    """GPU_LOADS sets the number of loads."""
    rng = random.Random(19)
    for _ in range(int(os.environ.get("GPU_LOADS", "8"))):
        spec = {
            "num_ctx": rng.choice([64, 256, 2048]),
            "num_parallel": rng.choice([1, 4, 16]),
            "num_gpu": rng.choice([-1, -1, 1, 2, 3]),
            "main_gpu": rng.choice([0, 1]),
            "tensor_split": rng.choice([(), (1.0,), (0.0, 1.0), (rng.random(), rng.random())]),
            "sched_spread": rng.random() < 0.2,
            "kv_cache_type": rng.choice(["f16", "f16", "f32"]),
            "use_mmap": rng.choice([None, True, False]),
        }
        async with running(llama3, **spec, backends=(two_gpus,)) as runner:
            assert runner.ready.size_vram, spec
            scored = await runner.score("One two three", [" four five"], spec["num_ctx"])
            assert all(one.logprob < 0 for one in scored.continuations[0]), spec
