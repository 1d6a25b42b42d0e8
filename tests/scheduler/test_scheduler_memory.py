"""Evictions if memory is short: their order and number, and models that are never evicted."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from hosts import Host, SmallHost
from scheduling import names, raises, scheduling, touch, use

from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options


async def test_the_least_recently_used_is_evicted(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, b, c)
        # The keep-alive does not matter, requests do.
        await touch(scheduler, a, keep_alive=60)
        await touch(scheduler, d)
        assert names(scheduler) == "acd"
        await touch(scheduler, b)
        assert names(scheduler) == "abd"
        assert host.refused == 2


async def test_one_model_too_many_evicts_the_least_recently_used(
    scratch_store: Path, models: list[Model]
) -> None:
    a, b, c, _ = models
    async with scheduling(scratch_store, max_loaded_models=2) as scheduler:
        await touch(scheduler, a, b, a, c)
        assert names(scheduler) == "ac"


async def test_models_kept_for_ever_are_evicted_last(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, keep_alive=math.inf)
        await touch(scheduler, b, c, d)
        assert names(scheduler) == "acd"
        host.capacity = 1
        await touch(scheduler, b)
        assert names(scheduler) == "b"


async def test_the_number_of_evictions_is_minimal(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, b, c)
        host.shortage = sum(loaded.size for loaded in scheduler.loaded()) * 3 // 5
        await touch(scheduler, d)
        assert names(scheduler) == "cd"
        assert host.refused == 1


async def test_pinned_models_stay(scratch_store: Path, models: list[Model], host: Host) -> None:
    a, b, c, d = models
    host.capacity = 2
    async with scheduling(
        scratch_store, max_loaded_models=1, pinned_models=["A", "library/b:latest"], keep_alive=0
    ) as scheduler:
        await touch(scheduler, a, b, keep_alive=0)
        scheduler.expire(a)
        await raises(500, "requires more system memory", scheduler.acquire(c, Options()))
        host.capacity = 3
        # A pinned model does not count against max_loaded_models.
        await touch(scheduler, c, keep_alive=60)
        await touch(scheduler, d, keep_alive=60)
        assert names(scheduler) == "abd"
        assert [loaded.expires_at.year > 2200 for loaded in scheduler.loaded()[:2]] == [True, True]


async def test_useless_evictions_do_not_happen(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, b, c)
        host.shortage = 2**40
        await raises(500, "requires more system memory", scheduler.acquire(d, Options()))
        assert names(scheduler) == "abc"


async def test_simultaneous_requests_share_one_eviction(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, b, c)
        leases = await asyncio.gather(*(scheduler.acquire(d, Options()) for _ in range(5)))
        assert len({lease.runner.pid for lease in leases}) == 1
        assert names(scheduler) == "bcd"
        assert (host.refused, host.started) == (1, 4)
        for lease in leases:
            async with lease:
                assert (await lease.runner.embed(["text"], 512)).size == 384


async def test_a_context_beyond_all_memory_is_refused_by_the_runner(
    ollama_store: Path, smollm2: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real refusal; only the context length in the header of the model is changed."""
    monkeypatch.setitem(smollm2.header.metadata, "llama.context_length", 10**9)
    async with scheduling(ollama_store) as scheduler:
        asking = scheduler.acquire(smollm2, Options(num_ctx=10**9))
        await raises(500, "requires more system memory .* than is available", asking)
        async with await scheduler.acquire(smollm2, Options()) as lease:
            assert (await use(lease)).eval_count == 3


async def test_others_are_evicted_before_a_default_context_gets_shorter(
    scratch_store: Path, models: list[Model], smollm2: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, *_ = models
    host = SmallHost(9)
    monkeypatch.setattr(RunnerClient, "start", host.start)
    async with scheduling(scratch_store) as scheduler:
        async with await scheduler.acquire(a, Options(num_ctx=64)):
            pass
        async with await scheduler.acquire(b, Options(num_ctx=64)):
            pass
        async with await scheduler.acquire(smollm2, Options()) as lease:
            assert lease.runner.spec.min_num_ctx == 512
            assert (await use(lease)).eval_count == 3
        assert names(scheduler) == "s"
        assert (host.refused, host.started) == (3, 3)
    async with scheduling(scratch_store) as scheduler:
        # A request with num_ctx gets that length or an error.
        await raises(500, "more system memory", scheduler.acquire(smollm2, Options(num_ctx=513)))
