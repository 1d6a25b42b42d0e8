"""Requests that wait for the memory of busy models: their order, and which others they delay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hosts import Host
from scheduling import eventually, names, raises, scheduling, touch

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.lease import Lease
from jupyter_ollama.scheduler.scheduler import Scheduler


class Asking:
    """Requests under way and the order in which they are served."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.served: list[str] = []
        self._scheduler = scheduler

    async def _ask(self, model: Model, reported: list[int]) -> None:
        async with await self._scheduler.acquire(model, Options(), None, reported.append):
            self.served.append(model.name.model)

    async def begin(self, model: Model, place: int) -> asyncio.Task[None]:
        """Request a model; return once the request has this position in the queue."""
        reported: list[int] = []
        task = asyncio.create_task(self._ask(model, reported))
        await eventually(lambda: reported[-1:] == [place])
        return task


@pytest.fixture
def refused(host: Host) -> Iterator[Host]:
    """A host for two runners that has refused a load at the end."""
    host.capacity = 2
    yield host
    assert host.refused


async def hold(stack: AsyncExitStack, scheduler: Scheduler, model: Model) -> Lease:
    return await stack.enter_async_context(
        await asyncio.wait_for(scheduler.acquire(model, Options()), 20)
    )


async def test_loads_are_in_order_and_shared_by_requests_for_one_model(
    scratch_store: Path, models: list[Model], refused: Host
) -> None:
    a, b, c, _ = models
    refused.capacity = 1
    async with scheduling(scratch_store) as scheduler:
        asking = Asking(scheduler)
        async with await scheduler.acquire(a, Options()) as lease:
            tasks = [await asking.begin(b, 0), await asking.begin(c, 1)]
            # The model to be evicted accepts no new requests, or the load might wait for ever.
            tasks += [await asking.begin(a, 2), await asking.begin(c, 1), await asking.begin(b, 0)]
            assert asking.served == []
            assert (await lease.runner.embed(["text"], 512)).size == 384
        await asyncio.gather(*tasks)
        assert asking.served == ["b", "b", "c", "c", "a"]
        assert refused.started == 4


async def test_a_steady_stream_of_requests_does_not_block_a_load(
    scratch_store: Path, models: list[Model], refused: Host
) -> None:
    a, b, _, _ = models
    refused.capacity = 1
    async with scheduling(scratch_store) as scheduler:
        over = asyncio.Event()

        async def stream(delay: float) -> None:
            await asyncio.sleep(delay)
            while not over.is_set():
                async with await scheduler.acquire(a, Options()):
                    await asyncio.sleep(0.05)

        streams = [asyncio.create_task(stream(delay)) for delay in (0, 0.02, 0.04)]
        await eventually(lambda: bool(scheduler.loaded()))
        async with await asyncio.wait_for(scheduler.acquire(b, Options()), 20) as lease:
            assert (await lease.runner.embed(["text"], 512)).size == 384
        over.set()
        await asyncio.gather(*streams)


async def test_models_that_are_not_evicted_serve_requests_meanwhile(
    scratch_store: Path, models: list[Model], refused: Host
) -> None:
    a, b, c, _ = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler, AsyncExitStack() as end:
        await hold(end, scheduler, a)
        async with AsyncExitStack() as stack:
            await hold(stack, scheduler, b)
            waiting = await Asking(scheduler).begin(c, 0)
            await eventually(lambda: refused.refused == 1)
            await hold(stack, scheduler, b)
            assert not waiting.done()
        # The other model was chosen and is still busy; this one is idle now.
        await waiting
        assert names(scheduler) == "ac"
        await hold(end, scheduler, a)


async def test_a_cancelled_request_is_not_waited_for(
    scratch_store: Path, models: list[Model], refused: Host
) -> None:
    a, b, c, _ = models
    refused.capacity = 1
    async with scheduling(scratch_store) as scheduler, AsyncExitStack() as stack:
        asking = Asking(scheduler)
        await hold(stack, scheduler, a)
        tasks = [await asking.begin(model, place) for model, place in ((b, 0), (b, 0), (c, 1))]
        tasks[0].cancel()
        tasks[2].cancel()
        await asyncio.wait([tasks[0], tasks[2]])
        assert not tasks[1].done()
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        # No load needs its memory any more: the busy model is available again.
        await hold(stack, scheduler, a)
        assert names(scheduler) == "a"
        assert refused.started == 1


async def test_no_load_waits_for_a_useless_eviction(
    scratch_store: Path, models: list[Model], refused: Host
) -> None:
    a, b, c, _ = models
    async with scheduling(scratch_store) as scheduler:
        await touch(scheduler, b)
        async with await scheduler.acquire(a, Options()) as lease:
            refused.shortage = 2**40
            asking = scheduler.acquire(c, Options())
            await raises(500, "requires more system memory", asyncio.wait_for(asking, 20))
            assert names(scheduler) == "ab"
            await touch(scheduler, a, b)
            assert (await lease.runner.embed(["text"], 512)).size == 384


async def test_waiting_requests_fail_when_the_server_stops(
    ollama_store: Path, smollm2: Model, minilm: Model
) -> None:
    server = OllamaServer(models_dir=str(ollama_store), num_parallel=1, max_loaded_models=1)
    lease = await server.scheduler.acquire(smollm2, Options())
    tasks = [
        asyncio.create_task(server.scheduler.acquire(model, Options()))
        for model in (smollm2, minilm, smollm2)
    ]
    await asyncio.sleep(0.05)
    await server.stop()
    for task in tasks:
        await raises(503, "the server is stopping", asyncio.wait_for(task, 20))
    await raises(503, "the server is stopping", server.scheduler.acquire(smollm2, Options()))
    assert not lease.runner.is_alive
