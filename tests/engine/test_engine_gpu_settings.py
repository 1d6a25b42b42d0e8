"""The settings of GPUs: memory that stays free, and models on all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from gpus import gpu, planned

from jupyter_ollama.engine import load_plan
from jupyter_ollama.engine.context_length import default_num_ctx
from jupyter_ollama.engine.devices import Device
from jupyter_ollama.engine.footprint import Demand, Weights
from jupyter_ollama.engine.llama_log import LlamaLog
from jupyter_ollama.engine.load_plan import LoadPlan
from jupyter_ollama.engine.memory_plan import GPU_RESERVE, place
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.layout.model_file import ModelFile

MIB, GIB = 2**20, 2**30
SMALL = {"num_ctx": 256, "num_parallel": 1, "num_batch": 64}
WEIGHTS = Weights(layers=(100 * MIB,) * 10, output_on_gpu=100 * MIB)
DEMAND = Demand(cache=0, compute=40 * MIB, outputs=0)
CPU = Device("CPU", 2**40, 2**40, is_cpu=True)


def card(free: int, total: int = 2**40) -> Device:
    return Device("GPU", free + GPU_RESERVE, total, is_cpu=False)


def test_a_model_is_spread_over_all_gpus() -> None:
    cards = [card(4 * GIB), card(2 * GIB), CPU]
    assert place(WEIGHTS, DEMAND, cards).shares == (11, 0)
    placement = place(WEIGHTS, DEMAND, cards, spread=True)
    assert placement.shares == (8, 3)
    assert placement.only_gpu is None
    # A tensor_split of the request wins, and a GPU without memory gets nothing.
    assert place(WEIGHTS, DEMAND, cards, spread=True, tensor_split=[0, 1]).shares == (0, 11)
    assert place(WEIGHTS, DEMAND, [card(4 * GIB), card(0), CPU], spread=True).shares == (11, 0)
    assert place(WEIGHTS, DEMAND, [card(0), card(0), CPU], spread=True).shares == ()
    assert place(WEIGHTS, DEMAND, [CPU], spread=True).shares == ()


def test_the_spec_spreads_a_real_model(monkeypatch: pytest.MonkeyPatch, smollm2: Path) -> None:
    monkeypatch.setattr(load_plan, "devices", lambda **_: [card(4 * GIB), card(4 * GIB), CPU])
    shares = []
    for sched_spread in (False, True):
        spec = LoadSpec(str(smollm2), sched_spread=sched_spread, **SMALL)
        plan = LoadPlan(spec, ModelFile(smollm2), LlamaLog(), 0)
        plan.place_model()
        shares.append(plan.placement.shares)
    assert shares == [(31, 0), (16, 15)]


def test_reserved_memory_does_not_count() -> None:
    """Neither for layers nor for the default length of a context."""
    assert card(GIB, 24 * GIB).without(GIB).free == GPU_RESERVE
    assert card(GIB, 24 * GIB).without(100 * GIB) == Device("GPU", 0, 0, is_cpu=False)
    assert default_num_ctx([card(0, 24 * GIB)], 0) == 32768
    assert default_num_ctx([card(0, 24 * GIB).without(2 * GIB)], 0) == 4096


def test_reserved_memory_stays_free(smollm2: Path) -> None:
    with gpu(GIB) as device:
        found = planned(smollm2, **device.spec, **SMALL)
        assert found.shares == [31]
    left = found.gpus // 2
    with gpu(GIB) as device:
        half = planned(smollm2, **device.spec, **SMALL, gpu_overhead=GIB - left)
    assert 5 < half.shares[0] < 31
    assert half.reported_gpus <= left
    assert abs(half.reported_gpus - half.gpus) < max(0.05 * half.gpus, MIB)
    assert half.reported_host > found.reported_host + left / 2
