"""Layers on a device: how many, on which, and the memory that is reported for them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from runners import running

MIB = 2**20
LAYERS = 3
"""Two repeating layers of the tiny model, and the output."""


def used_on_device(log: str) -> int:
    """Return the bytes that ggml's Vulkan backend has allocated on its device, by its own log."""
    sums = [int(size) for size in re.findall(r"device at 0x\w+\. Total device: (\d+)", log)]
    return max(sums, default=0)


@pytest.mark.parametrize("num_gpu", [-1, *range(LAYERS + 1), 99])
async def test_as_many_layers_as_asked_are_on_the_device(
    num_gpu: int, one_gpu: str, llama3: Path
) -> None:
    async with running(llama3, num_ctx=256, num_gpu=num_gpu, backends=(one_gpu,)) as runner:
        assert runner.gpu_layers == (LAYERS if num_gpu in (-1, 99) else num_gpu)
        assert (runner.ready.size_vram > 0) == (num_gpu != 0)
        assert [device.name for device in runner.memory.devices] == ["Vulkan0", "CPU"]


async def test_the_memory_is_what_the_backend_has_allocated(
    one_gpu: str, llama3: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("GGML_VK_MEMORY_LOGGER", "1")
    caplog.set_level("DEBUG")
    async with running(llama3, num_ctx=4096, backends=(one_gpu,)) as runner:
        reported = runner.ready.size_vram
        print(caplog.text[-3000:], reported)
        assert 0
