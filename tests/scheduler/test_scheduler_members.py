"""Users who may not change models have no effect on how others' models are loaded."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import pytest
from hosts import Host
from scheduling import names, scheduling

from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.account import Account
from jupyter_ollama.scheduler.fair_queue import FairQueue
from jupyter_ollama.scheduler.lease import Lease
from jupyter_ollama.scheduler.request import ModelRequest, SlotClaim, current_request
from jupyter_ollama.scheduler.scheduler import Scheduler

ANN, EVE = Account("ann"), Account("eve")


async def ask(
    scheduler: Scheduler,
    model: Model,
    account: Account = EVE,
    *,
    keep_alive: float | None = None,
    manages: bool = False,
    **options: object,
) -> tuple[Lease, ModelRequest]:
    """Acquire a lease for a user and release it."""
    request = ModelRequest(account, may_manage=manages)

    async def acquire() -> Lease:
        current_request.set(request)
        async with await scheduler.acquire(model, Options(**options), keep_alive) as lease:
            return lease

    return await asyncio.create_task(acquire()), request


@pytest.mark.parametrize(
    "options",
    [
        {"num_parallel": 1},
        {"num_thread": 1},
        {"num_gpu": 0},
        {"num_batch": 7},
        {"use_mmap": False},
        {"kv_cache_type": "q8_0"},
    ],
    ids=str,
)
async def test_load_options_of_members_have_no_effect(
    ollama_store: Path, minilm: Model, options: dict[str, object]
) -> None:
    async with scheduling(ollama_store) as scheduler:
        before, _ = await ask(scheduler, minilm, ANN)
        after, request = await ask(scheduler, minilm, **options)
        assert after.runner is before.runner
        assert request.ignored == {*options}
        managed, request = await ask(scheduler, minilm, manages=True, **options)
        assert managed.runner is not before.runner
        assert not request.ignored


async def test_a_member_has_the_context_that_is_loaded(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store, context_length=1024) as scheduler:
        first, request = await ask(scheduler, smollm2, num_ctx=8000)
        assert (first.num_ctx, request.ignored) == (1024, {"num_ctx"})
        short, request = await ask(scheduler, smollm2, num_ctx=300)
        assert (short.num_ctx, request.ignored) == (300, set())
        assert (await ask(scheduler, smollm2))[0].num_ctx == 1024
        grown, _ = await ask(scheduler, smollm2, manages=True, num_ctx=2048)
        assert grown.num_ctx == 2048
        assert (await ask(scheduler, smollm2, num_ctx=1500))[0].num_ctx == 1500
        assert short.runner is first.runner is grown.runner


async def test_a_member_extends_the_keep_alive_up_to_the_setting_only(
    ollama_store: Path, minilm: Model
) -> None:
    async with scheduling(ollama_store, keep_alive=60) as scheduler:
        for asked, kept, reported in ((0, 60, True), (math.inf, 60, True), (60, 60, False)):
            lease, request = await ask(scheduler, minilm, keep_alive=asked)
            assert lease.loaded.keep_alive == kept
            assert ("keep_alive" in request.ignored) is reported
        await ask(scheduler, minilm, manages=True, keep_alive=20)
        assert (await ask(scheduler, minilm, keep_alive=10))[0].loaded.keep_alive == 20
        assert (await ask(scheduler, minilm, keep_alive=50))[0].loaded.keep_alive == 50
        assert (await ask(scheduler, minilm, keep_alive=5000))[0].loaded.keep_alive == 60


async def test_a_user_of_many_models_evicts_their_own(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, min_residence=0) as scheduler:
        await ask(scheduler, a, ANN)
        await ask(scheduler, b, EVE)
        await ask(scheduler, c, EVE)
        for model in (d, b, c, d, b):
            await ask(scheduler, model, EVE)
            assert "a" in names(scheduler)
        await ask(scheduler, d, manages=True)
        await ask(scheduler, c, manages=True)
        assert "a" not in names(scheduler)


async def test_models_of_other_users_stay_for_a_while(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, min_residence=3) as scheduler:
        for model, name in ((a, "ann"), (b, "bob"), (c, "cem")):
            await ask(scheduler, model, Account(name))
        start = time.monotonic()
        for loaded in scheduler.loaded():
            loaded.base.loaded_at = start
        waiting = asyncio.create_task(ask(scheduler, d))
        another = asyncio.create_task(ask(scheduler, d))
        # Other models load meanwhile: the load that has to wait does not delay them.
        await asyncio.sleep(0.2)  # no model may be evicted before its min_residence
        assert names(scheduler) == "abc"
        await ask(scheduler, a, manages=True, num_thread=1)
        assert not waiting.done()
        await asyncio.gather(waiting, another)
        assert time.monotonic() - start >= 2.9
        assert "d" in names(scheduler)


def test_a_user_of_a_shared_server_gets_a_fraction_of_the_slots() -> None:
    async def run() -> list[int]:
        running = []
        for slots in (1, 2, 5, 16):
            queue = FairQueue(slots)
            claims = [SlotClaim(ModelRequest(EVE, slot_fraction=0.5)) for _ in range(20)]
            tasks = [asyncio.ensure_future(queue.acquire(claim)) for claim in claims]
            await asyncio.sleep(0)
            running.append(sum(task.done() for task in tasks))
            assert (slots == 1) or queue.may_start(ModelRequest(ANN, slot_fraction=0.5))
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        return running

    assert asyncio.run(run()) == [1, 1, 2, 8]
