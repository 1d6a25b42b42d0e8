"""Slots that are held after the end of their requests are logged and released."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path

import pytest
from scheduling import eventually, scheduling

from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.account import Account
from jupyter_ollama.scheduler.lease import Lease
from jupyter_ollama.scheduler.request import ModelRequest, current_request
from jupyter_ollama.scheduler.scheduler import Scheduler


async def lease_of(scheduler: Scheduler, model: Model, request: ModelRequest) -> Lease:
    """Acquire a lease for a request."""

    async def acquire() -> Lease:
        current_request.set(request)
        return await scheduler.acquire(model, Options())

    return await asyncio.create_task(acquire())


async def test_the_slot_of_a_request_that_is_over_is_taken_back(
    ollama_store: Path, smollm2: Model, caplog: pytest.LogCaptureFixture
) -> None:
    async with scheduling(
        ollama_store, num_parallel=2, lost_slot_seconds=0.2, keep_alive=0
    ) as scheduler:
        ann = Account("ann")
        requests = [ModelRequest(ann), ModelRequest(ann)]
        lost, held = [await lease_of(scheduler, smollm2, request) for request in requests]
        assert (scheduler.watchdog.held, scheduler.watchdog.lost) == (2, 0)
        assert not lost.loaded.queue.may_start(ModelRequest(ann))
        requests[0].close(200)
        assert scheduler.watchdog.lost == 1
        with caplog.at_level(logging.ERROR):
            await eventually(lambda: scheduler.watchdog.recovered == 1)
        assert (scheduler.watchdog.held, scheduler.watchdog.lost) == (1, 0)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert ann.running == 1
        assert lost.loaded.queue.may_start(ModelRequest(ann))
        lost.release()  # a late release does nothing
        assert (ann.running, lost.loaded.users) == (1, 1)
        held.release()
        assert (ann.running, lost.loaded.users) == (0, 0)
        await eventually(lambda: not scheduler.loaded())
        assert scheduler.watchdog.recovered == 1


async def test_a_lease_that_nothing_can_release_is_lost(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store, lost_slot_seconds=60) as scheduler:
        lease = await scheduler.acquire(smollm2, Options())
        loaded = lease.loaded
        scheduler.watchdog.check()
        assert loaded.users == 1
        del lease
        gc.collect()
        assert scheduler.watchdog.lost == 1
        scheduler.watchdog.check()
        assert loaded.users == scheduler.watchdog.held == 0


async def test_running_requests_keep_their_slots(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store, lost_slot_seconds=0) as scheduler:
        request = ModelRequest(Account("ann"))
        lease = await lease_of(scheduler, smollm2, request)
        for _ in range(5):
            await asyncio.sleep(0.02)
            scheduler.watchdog.check()
        assert request.account.running == 1
        lease.release()
        assert scheduler.watchdog.recovered == scheduler.watchdog.held == 0
