"""Loads that fail: all waiting requests get the error, and the next request tries again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hosts import Host
from scheduling import eventually, raises, scheduling, use

from jupyter_ollama._version import OLLAMA_API_VERSION
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.manifest import CONFIG, Layer, Manifest
from jupyter_ollama.library.model import Model
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.lease import Lease
from jupyter_ollama.scheduler.scheduler import Scheduler

Children = Callable[[], list[psutil.Process]]


async def together(scheduler: Scheduler, model: Model) -> list[str]:
    """Send three requests at once; return the errors."""
    asking = (scheduler.acquire(model, Options()) for _ in range(3))
    answers = await asyncio.gather(*asking, return_exceptions=True)
    errors = [error for error in answers if isinstance(error, OllamaError)]
    assert [error.status for error in errors] == [500] * 3
    return [error.message for error in errors]


async def test_a_file_that_makes_no_model(
    scratch_store: Path, smollm2: Model, models: list[Model], host: Host
) -> None:
    broken = models[0].model_path
    data = broken.read_bytes()
    broken.unlink()
    broken.write_bytes(data[: len(data) // 2])
    async with scheduling(scratch_store) as scheduler:
        first, *others = await together(scheduler, models[0])
        assert "load" in first
        assert others == [first] * 2
        assert host.started == 1
        await together(scheduler, models[0])
        assert host.started == 2
        broken.write_bytes(data)
        async with await scheduler.acquire(models[0], Options()) as lease:
            assert (await lease.runner.embed(["text"], 512)).size == 384


async def test_a_runner_that_is_killed_while_it_loads(
    ollama_store: Path, smollm2: Model, host: Host, children: Children
) -> None:
    async with scheduling(ollama_store) as scheduler:
        failing = asyncio.create_task(together(scheduler, smollm2))
        await eventually(lambda: len(children()) == 1)
        (runner,) = children()
        os.kill(runner.pid, signal.SIGKILL)
        assert all("unexpectedly stopped" in message for message in await failing)
        assert host.started == 1
        async with await scheduler.acquire(smollm2, Options()) as lease:
            assert (await use(lease)).eval_count == 3


async def test_a_load_that_takes_too_long(
    ollama_store: Path, smollm2: Model, host: Host, children: Children
) -> None:
    async with scheduling(ollama_store, load_timeout=0.01) as scheduler:
        messages = await together(scheduler, smollm2)
        assert messages == ["timed out waiting for the model to load (0 s)"] * 3
        assert host.started == 1
        assert children() == []


async def test_a_load_goes_on_for_the_remaining_requests(
    ollama_store: Path, smollm2: Model, host: Host
) -> None:
    async with scheduling(ollama_store) as scheduler:
        asking = [asyncio.create_task(scheduler.acquire(smollm2, Options())) for _ in range(3)]
        await eventually(lambda: host.started == 1)
        asking[0].cancel()
        asking[1].cancel()
        async with await asking[2] as lease:
            assert (await use(lease)).eval_count == 3
        assert host.started == 1
        assert scheduler.loaded()[0].users == 0


@pytest.mark.parametrize("hops", [0, 1, 2])
async def test_a_load_without_requests_is_cancelled(
    ollama_store: Path, smollm2: Model, host: Host, children: Children, hops: int
) -> None:
    async with scheduling(ollama_store) as scheduler:
        asking = [asyncio.create_task(scheduler.acquire(smollm2, Options())) for _ in range(2)]
        await eventually(lambda: host.started == 1)
        for task in asking:
            task.cancel()
        for _ in range(hops):
            await asyncio.sleep(0)
        # A new request must not share the load that is about to be abandoned.
        late: Lease = await scheduler.acquire(smollm2, Options())
        async with late:
            assert (await use(late)).eval_count == 3
        assert all(task.cancelled() for task in asking)
        assert len(children()) == 1


async def test_a_model_that_requires_a_newer_ollama_is_not_loaded(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    library = Library.open(scratch_store)
    config = library.store.add_blob(b'{"model_format":"gguf","requires":"0.1000.0"}')
    made = Manifest(
        config=Layer(CONFIG, config.digest, config.size), layers=models[0].manifest.layers
    )
    library.store.write_manifest(ModelName.parse("newer"), made)
    async with scheduling(scratch_store) as scheduler:
        message = f"'newer:latest' requires Ollama 0.1000.0 or newer.* Ollama {OLLAMA_API_VERSION}"
        await raises(400, message, scheduler.acquire(library.find("newer"), Options()))
        assert host.started == 0
        scheduler.expire(library.find("newer"))  # nothing to unload, and no error
        # The same weights can be loaded for a model without the requirement.
        async with await scheduler.acquire(models[0], Options()):
            assert host.started == 1
