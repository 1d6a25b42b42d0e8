"""What is known of devices before a model is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_ollama.engine import devices
from jupyter_ollama.engine.devices import Device, cache_bytes_per_token, plan_gpu_layers
from jupyter_ollama.library.gguf import read_header


def test_the_cpu_is_a_device_with_memory() -> None:
    (cpu,) = [device for device in devices.devices() if device.is_cpu]
    assert 0 < cpu.free <= cpu.total
    assert devices.physical_threads() >= 1


def test_bytes_of_a_token_in_the_kv_cache(smollm2: Path) -> None:
    header = read_header(smollm2)
    # 30 layers, 3 heads of 64 keys and 64 values.
    assert cache_bytes_per_token(header, "f16") == 30 * 3 * (64 + 64) * 2
    assert cache_bytes_per_token(header, "q8_0") == 30 * 3 * (64 + 64) * 34 / 32


def test_as_many_layers_as_fit(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU is described here, not used: the plan is arithmetic."""
    header = read_header(smollm2)
    cpu = Device("CPU", 2**34, 2**34, is_cpu=True)

    def layers(free: int) -> int:
        gpu = Device("GPU", free + devices.COMPUTE_RESERVE, 2**40, is_cpu=False)
        monkeypatch.setattr(devices, "devices", lambda: [gpu, cpu])
        return plan_gpu_layers(header, 3000, 1000)

    assert layers(4000) == -1
    assert layers(2000) == 15
    assert layers(-1) == 0
    monkeypatch.setattr(devices, "devices", lambda: [cpu])
    assert plan_gpu_layers(header, 3000, 1000) == 0
