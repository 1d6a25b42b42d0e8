"""Loading, sharing, waiting and unloading, with real runners."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest
from scheduling import eventually, raises, scheduling, use

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options


async def test_a_loaded_model_is_shared(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store) as scheduler:
        assert scheduler.loaded() == []
        async with (
            await scheduler.acquire(smollm2, Options()) as first,
            await scheduler.acquire(smollm2, Options(num_ctx=512)) as second,
        ):
            assert first.runner is second.runner
            assert first.load_duration > second.load_duration
            assert second.num_ctx == 512
            assert (await use(second)).eval_count == 3
        (loaded,) = scheduler.loaded()
        assert loaded.num_ctx == 4096
        assert loaded.size > 50e6


async def test_two_requests_for_an_unloaded_model_load_it_once(
    ollama_store: Path, smollm2: Model
) -> None:
    async with scheduling(ollama_store) as scheduler:
        leases = await asyncio.gather(*(scheduler.acquire(smollm2, Options()) for _ in range(3)))
        assert len({lease.runner.pid for lease in leases}) == 1


async def test_keep_alive(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store) as scheduler:
        async with await scheduler.acquire(smollm2, Options(), 0.0) as lease:
            pid = lease.runner.pid
            await asyncio.sleep(0.1)  # longer than the keep-alive
            assert scheduler.loaded()
        await eventually(lambda: not scheduler.loaded())
        await eventually(lambda: not Path(f"/proc/{pid}").exists())
        async with await scheduler.acquire(smollm2, Options(), math.inf):
            pass
        (loaded,) = scheduler.loaded()
        assert loaded.expires_at.year > 2200
        async with await scheduler.acquire(smollm2, Options()):
            pass
        assert math.isinf(loaded.keep_alive)
        async with await scheduler.acquire(smollm2, Options(), 0.2):
            await asyncio.sleep(0.4)  # longer than the keep-alive
            assert scheduler.loaded()
        await eventually(lambda: not scheduler.loaded())


async def test_expire_waits_for_the_last_request(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store) as scheduler:
        async with await scheduler.acquire(smollm2, Options()) as lease:
            scheduler.expire(smollm2)
            assert (await use(lease)).eval_count == 3
            assert scheduler.loaded()
        await eventually(lambda: not scheduler.loaded())
        scheduler.expire(smollm2)


async def test_one_model_too_many_evicts_an_idle_one(
    ollama_store: Path, smollm2: Model, minilm: Model
) -> None:
    async with scheduling(ollama_store, max_loaded_models=1) as scheduler:
        async with await scheduler.acquire(smollm2, Options()):
            second = asyncio.create_task(scheduler.acquire(minilm, Options()))
            await asyncio.sleep(0.3)  # the busy model may not be evicted
            assert not second.done()
        async with await second as lease:
            assert (await lease.runner.embed(["text"], 512)).size == 384
        assert [loaded.model.name.display for loaded in scheduler.loaded()] == ["all-minilm:latest"]


async def test_requests_wait_for_a_slot_and_the_queue_is_bounded(
    ollama_store: Path, smollm2: Model
) -> None:
    async with scheduling(ollama_store, num_parallel=1, max_queue=2) as scheduler:
        async with await scheduler.acquire(smollm2, Options()):
            waiting = [asyncio.create_task(scheduler.acquire(smollm2, Options())) for _ in "ab"]
            await asyncio.sleep(0.05)
            with pytest.raises(OllamaError, match="maximum pending requests exceeded") as caught:
                await scheduler.acquire(smollm2, Options())
            assert caught.value.status == 503
            assert not any(task.done() for task in waiting)
            waiting[0].cancel()
            await asyncio.wait([waiting[0]])
        async with await asyncio.wait_for(waiting[1], 5) as lease:
            assert (await use(lease)).eval_count == 3


async def test_a_dead_runner_is_replaced_for_waiting_requests(
    ollama_store: Path, smollm2: Model
) -> None:
    async with scheduling(ollama_store, num_parallel=1) as scheduler, AsyncExitStack() as stack:
        lease = await stack.enter_async_context(await scheduler.acquire(smollm2, Options()))
        waiting = asyncio.create_task(scheduler.acquire(smollm2, Options()))
        stream = lease.runner.generate(RawPrompt("Once"), Options(num_predict=1000, num_ctx=4096))
        await anext(stream)
        os.kill(lease.runner.pid, signal.SIGKILL)
        with pytest.raises(OllamaError, match="unexpectedly stopped"):
            async for _ in stream:
                pass
        other = await stack.enter_async_context(await asyncio.wait_for(waiting, 20))
        assert other.runner.pid != lease.runner.pid
        assert (await use(other)).eval_count == 3


async def test_a_failed_load_affects_no_other_model(scratch_store: Path, smollm2: Model) -> None:
    library = OllamaServer(models_dir=str(scratch_store)).library
    broken, missing = library.find("smollm2"), library.find("all-minilm")
    data = broken.model_path.read_bytes()[: 4 * 2**20]
    broken.model_path.unlink()
    broken.model_path.write_bytes(data)
    missing.model_path.unlink()
    async with scheduling(scratch_store) as scheduler:
        async with await scheduler.acquire(smollm2, Options()) as good:
            await raises(500, "load", scheduler.acquire(broken, Options()))
            await raises(404, "not found, try pulling it", scheduler.acquire(missing, Options()))
            assert (await use(good)).eval_count == 3
        assert len(scheduler.loaded()) == 1


async def test_a_cancelled_drain_leaves_the_scheduler_in_order(
    ollama_store: Path, smollm2: Model, minilm: Model
) -> None:
    async with scheduling(ollama_store, max_loaded_models=1) as scheduler:
        for delay in (0.0, 0.01, 0.03):
            async with await scheduler.acquire(smollm2, Options()):
                pass
            asking = asyncio.create_task(scheduler.acquire(minilm, Options()))
            await asyncio.sleep(delay)
            asking.cancel()
            await asyncio.wait([asking])
        async with await asyncio.wait_for(scheduler.acquire(minilm, Options()), 30) as lease:
            assert (await lease.runner.embed(["text"], 512)).size == 384


async def test_closing_ends_a_load_under_way(
    ollama_store: Path, smollm2: Model, children: Callable[[], list[psutil.Process]]
) -> None:
    server = OllamaServer(models_dir=str(ollama_store))
    asking = asyncio.create_task(server.scheduler.acquire(smollm2, Options()))
    await eventually(lambda: bool(children()))
    await server.stop()
    await raises(503, "the server is stopping", asking)
    assert server.scheduler.loaded() == []


async def test_a_keep_alive_of_a_million_years_can_be_shown(
    ollama_store: Path, smollm2: Model
) -> None:
    async with scheduling(ollama_store, keep_alive=1e15) as scheduler:
        async with await scheduler.acquire(smollm2, Options()):
            pass
        assert scheduler.loaded()[0].expires_at.year > 2200
