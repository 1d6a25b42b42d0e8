"""GPUs for tests: workers on loopback, whose devices a runner treats as GPUs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from workers import Worker, working

from jupyter_ollama.engine.memory_plan import GPU_RESERVE

PLANNED = """
import json, sys
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.protocol import LoadSpec

loaded = ModelLoader(LoadSpec(**json.loads(sys.argv[1])))
loaded.generation_context()
plan, log = loaded.plan, loaded.log
with plan._estimator(plan.file, plan.devices()) as estimator:
    needs = plan.placement.needs(plan.weights, estimator.measured(plan.shape))
place = plan.placement
sizes = log.host_bytes, log.device_bytes
print(json.dumps([place.shares, place.cpu_experts, place.is_full, needs[0], sum(needs[1]), *sizes]))
"""


class Gpu(NamedTuple):
    """A device that counts as a GPU, and the fields of a LoadSpec that put layers there."""

    worker: Worker
    spec: dict[str, Any]


class Planned(NamedTuple):
    """The plan of a load, and the bytes that llama.cpp reports after it."""

    shares: list[int]
    cpu_experts: int
    is_full: bool
    host: int
    gpus: int
    reported_host: float
    reported_gpus: float


@contextmanager
def gpu(size: int) -> Iterator[Gpu]:
    """Lend a GPU with ``size`` bytes for models to one runner at a time."""
    with working(1, f"--memory={(size + GPU_RESERVE) / 2**30}") as (worker,):
        # The parts of a worker are stated: else it is used only for what the host cannot hold.
        yield Gpu(worker, {"rpc_servers": (worker.endpoint,), "tensor_split": (1.0,)})


def planned(model: Path, **spec: object) -> Planned:
    """Load a model in a process of its own, with the given fields of LoadSpec."""
    command = [sys.executable, "-c", PLANNED, json.dumps({"model": str(model), **spec})]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60)
    return Planned(*json.loads(run.stdout))
