"""The context length of requests that name none: by the memory of GPUs, made up here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_ollama.engine import load_plan
from jupyter_ollama.engine.context_length import (
    SHORTEST_NUM_CTX,
    default_num_ctx,
    shorter_than,
)
from jupyter_ollama.engine.devices import Device
from jupyter_ollama.engine.footprint import Demand, Weights
from jupyter_ollama.engine.loading import GENERATION, ModelLoader
from jupyter_ollama.engine.memory_plan import GPU_RESERVE, MemoryShortage, Placement, place, plan
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.runner_client import RunnerClient

MIB, GIB = 2**20, 2**30
CPU = Device("CPU", 2**40, 2**40, is_cpu=True)


def gpu(total: int, free: int = 0, *, is_remote: bool = False) -> Device:
    return Device("GPU", free, total, is_cpu=False, is_remote=is_remote)


@pytest.mark.parametrize(
    ("memory", "tokens"),
    [
        ([], 4096),
        ([8 * GIB], 4096),
        ([23 * GIB - 1], 4096),
        ([23 * GIB], 32768),  # a card that is sold as one of 24 GiB
        ([12 * GIB, 12 * GIB], 32768),
        ([47 * GIB - 1], 32768),
        ([47 * GIB], 262144),
        ([80 * GIB] * 8, 262144),
    ],
)
def test_the_gpus_of_a_machine_decide(memory: list[int], tokens: int) -> None:
    devices = [*map(gpu, memory), CPU]
    assert default_num_ctx(devices, 0) == tokens
    assert default_num_ctx(devices, 2**20) == tokens
    assert default_num_ctx(devices, 2048) == 2048
    assert default_num_ctx([*devices, gpu(80 * GIB, is_remote=True)], 0) == tokens


def test_encoders_get_less_unasked() -> None:
    assert default_num_ctx([gpu(80 * GIB)], 32768, is_encoder=True) == 8192
    assert default_num_ctx([gpu(80 * GIB)], 512, is_encoder=True) == 512
    assert default_num_ctx([CPU], 32768, is_encoder=True) == 4096


def test_lengths_are_halved_down_to_the_least() -> None:
    assert [*shorter_than(32768, 4096)] == [16384, 8192, 4096]
    assert [*shorter_than(10000, 4096)] == [5000, 4096]
    assert [*shorter_than(4096, 4096)] == []
    assert [*shorter_than(2048, 4096)] == []


class Tokens:
    """Estimates of a cache of a MiB a token."""

    def rough(self, tokens: int) -> None:
        return None

    def measured(self, tokens: int) -> Demand:
        return Demand(tokens * MIB, 0, 0)


# Ten layers of 100 MiB, the output layer on top.
WEIGHTS = Weights(layers=(100 * MIB,) * 10)


@pytest.mark.parametrize(
    ("free", "taken", "layers"),
    [
        (9000, 2000, 11),  # two contexts of 1000 in a quarter of the memory
        (5000, 1000, 11),  # one
        (2000, 1000, 11),  # one, in more than a quarter of it
        (1999, 500, 11),  # a shorter one, before layers leave the GPU
        (1250, 250, 11),
        (1249, 1000, 7),  # no length keeps the layers there: the longest again
    ],
)
def test_contexts_get_fewer_then_shorter_before_layers_leave_the_gpu(
    free: int, taken: int, layers: int
) -> None:
    devices = [gpu(2**40, free * MIB + GPU_RESERVE), CPU]

    def fit(demand: Demand) -> Placement:
        return place(WEIGHTS, demand, devices)

    placement, tokens = plan([2000, 1000], Tokens(), fit, devices, [500, 250])
    assert (tokens, placement.gpu_layers) == (taken, layers)


@pytest.mark.parametrize(("free", "taken"), [(2200, 1000), (1700, 500), (1400, 250)])
def test_contexts_get_shorter_before_a_host_refuses_them(free: int, taken: int) -> None:
    devices = [Device("CPU", free * MIB, 2**40, is_cpu=True)]

    def fit(demand: Demand) -> Placement:
        return place(WEIGHTS, demand, devices)

    assert plan([2000, 1000], Tokens(), fit, devices, [500, 250])[1] == taken
    devices[:] = [Device("CPU", 1300 * MIB, 2**40, is_cpu=True)]
    with pytest.raises(MemoryShortage) as caught:
        plan([2000, 1000], Tokens(), fit, devices, [500, 250])
    assert caught.value.required == (1250 + 128) * MIB  # the shortest one's


class Machine:
    """The devices that a model is loaded on, with as much free memory as a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: Path) -> None:
        self.devices = [CPU]
        self._model = str(model)
        monkeypatch.setattr(load_plan, "devices", lambda **_: self.devices)

    def load(self, free: int = 2**40, **spec: int) -> ModelLoader:
        self.devices = [Device("CPU", free, 2**40, is_cpu=True)]
        return ModelLoader(LoadSpec(model=self._model, **{"num_ctx": 0, **spec}))

    def required(self, num_ctx: int, contexts: int) -> int:
        """The bytes of host memory that the plan needs for so many contexts."""
        with pytest.raises(MemoryShortage) as caught:
            self.load(0, num_ctx=num_ctx, num_parallel=contexts)
        return caught.value.required


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, smollm2: Path) -> Machine:
    return Machine(monkeypatch, smollm2)


def test_a_real_model_takes_what_fits(machine: Machine) -> None:
    loaded = machine.load()
    assert (loaded.plan.num_ctx, loaded.plan.default_num_ctx) == (4096, 4096)
    # Fewer contexts first,
    loaded = machine.load(machine.required(4096, 1))
    assert (loaded.plan.num_ctx, loaded.generation_context().cells) == (4096, 4096)
    # then shorter ones, where the caller has nothing else to try.
    least = {"min_num_ctx": SHORTEST_NUM_CTX}
    enough = machine.required(1024, 1)
    loaded = machine.load(enough, **least)
    assert (loaded.plan.num_ctx, loaded.plan.default_num_ctx) == (1024, 1024)
    assert loaded.generation_context().cells == 1024
    assert machine.load(enough - 1, **least).plan.num_ctx == 512
    for spec in ({}, {"num_ctx": 4096, **least}, {"num_ctx": 1025, **least}):
        with pytest.raises(MemoryShortage):
            machine.load(enough, **spec)
    with pytest.raises(MemoryShortage):
        machine.load(machine.required(512, 1) - 1, **least)


def test_a_context_that_takes_the_place_of_the_former_needs_less(machine: Machine) -> None:
    loaded = machine.load(num_ctx=1024)
    loaded.generation_context(1024)
    former = sum(buffer.size for buffer in loaded.log.held(GENERATION))
    machine.devices = [replace(CPU, free=0)]
    with pytest.raises(MemoryShortage) as caught:
        loaded.generation_context(2048)
    required = caught.value.required
    for free, fits in ((required - former, True), (required - former - 2**20, False)):
        machine.devices = [replace(CPU, free=int(free))]
        assert loaded.fits_in_place(2048) is fits
        with pytest.raises(MemoryShortage):
            loaded.generation_context(2048)


def test_parallel_requests_share_what_fits(machine: Machine) -> None:
    enough = machine.required(1024, 4)
    loaded = machine.load(enough, num_parallel=4, min_num_ctx=SHORTEST_NUM_CTX)
    assert (loaded.plan.num_ctx, loaded.generation_context().cells) == (1024, 4096)


def test_the_rule_of_gpus_ends_at_the_trained_context(machine: Machine) -> None:
    # These GPUs have no memory left, so that all is loaded into the host's.
    for total, tokens in ((8 * GIB, 4096), (24 * GIB, 8192), (80 * GIB, 8192)):
        machine.devices = [gpu(total), CPU]
        for spec, length in (({"num_ctx": 0}, tokens), ({"num_ctx": 64}, 64)):
            loaded = ModelLoader(LoadSpec(machine._model, **spec))
            assert (loaded.plan.num_ctx, loaded.plan.default_num_ctx) == (length, tokens)


async def test_a_runner_reports_its_context(smollm2: Path) -> None:
    for num_ctx, expected in ((0, (4096, 4096)), (256, (256, 4096))):
        runner = await RunnerClient.start(LoadSpec(str(smollm2), num_ctx=num_ctx), load_timeout=60)
        try:
            assert (runner.ready.num_ctx, runner.ready.default_num_ctx) == expected
            await runner.resize(512)
            assert (runner.ready.num_ctx, runner.ready.default_num_ctx) == (512, 4096)
        finally:
            await runner.stop()
