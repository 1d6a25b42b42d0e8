"""The cost of contenders while they load a model, and while they are idle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import psutil
from client import Refused
from contender import Contender
from workloads import Figures


async def load(contender: Contender) -> Figures:
    """Load a model whose file the page cache holds, up to its first token.

    Servers of one model are started with it; those with Ollama's API run already.
    """
    await contender.unload()
    start = time.perf_counter()
    await contender.wake()
    answer = await contender.complete("Once", 1)
    return {"model not loaded: time to the first token, s": answer.times[0] - start}


async def memory(contender: Contender) -> Figures:
    """Resident memory after the earlier workloads. Raises Refused."""
    check_visible(contender)
    return {
        f"resident memory, {what}, MiB": size / 2**20 for what, size in contender.memory().items()
    }


async def idle(contender: Contender, seconds: float) -> Figures:
    """Use of the processor while idle, with a second model where two can be loaded.

    Raises Refused.
    """
    check_visible(contender)
    await contender.load_another()
    await asyncio.sleep(1)
    before = processor_seconds(contender.processes())
    await asyncio.sleep(seconds)
    used = processor_seconds(contender.processes()) - before
    await contender.unload_another()
    return {"idle: use of one core, %": used / seconds * 100}


def check_visible(contender: Contender) -> None:
    """Raise Refused if the processes of a contender are unknown."""
    if not contender.is_visible:
        raise Refused("its processes were not found on this host")


def processor_seconds(processes: Sequence[psutil.Process]) -> float:
    """Return the processor time of all processes so far."""
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)
