"""Who makes way where memory is short, in which order, how many, and who never does."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from hosts import Host
from scheduling import names, raises, scheduling, touch, use

from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options


async def test_the_least_recently_used_makes_way(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, b, c)
        # How long each is to be kept plays no role, being used does.
        await touch(scheduler, a, keep_alive=60)
        await touch(scheduler, d)
        assert names(scheduler) == "acd"
        await touch(scheduler, b)
        assert names(scheduler) == "abd"
        assert host.refused == 2


async def test_one_too_many_makes_the_least_recently_used_go(
    scratch_store: Path, models: list[Model]
) -> None:
    a, b, c, _ = models
    async with scheduling(scratch_store, max_loaded_models=2) as scheduler:
        await touch(scheduler, a, b, a, c)
        assert names(scheduler) == "ac"


async def test_what_is_kept_for_ever_goes_last(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, keep_alive=math.inf)
        await touch(scheduler, b, c, d)
        assert names(scheduler) == "acd"
        host.room = 1
        await touch(scheduler, b)
        assert names(scheduler) == "b"


async def test_as_many_go_as_are_needed(
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
    host.room = 2
    async with scheduling(
        scratch_store, max_loaded_models=1, pinned_models=["A", "library/b:latest"], keep_alive=0
    ) as scheduler:
        await touch(scheduler, a, b, keep_alive=0)
        scheduler.expire(a)
        await raises(500, "requires more system memory", scheduler.acquire(c, Options()))
        host.room = 3
        # Whoever is pinned is not one of the models that max_loaded_models counts.
        await touch(scheduler, c, keep_alive=60)
        await touch(scheduler, d, keep_alive=60)
        assert names(scheduler) == "abd"
        assert [loaded.expires_at.year > 2200 for loaded in scheduler.loaded()[:2]] == [True, True]


async def test_nothing_goes_that_would_not_help(
    scratch_store: Path, models: list[Model], host: Host
) -> None:
    a, b, c, d = models
    async with scheduling(scratch_store, max_loaded_models=9) as scheduler:
        await touch(scheduler, a, b, c)
        host.shortage = 2**40
        await raises(500, "requires more system memory", scheduler.acquire(d, Options()))
        assert names(scheduler) == "abc"


async def test_requests_at_once_get_the_same_freed_place(
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
    """Not made up, but for the length the model is said to be trained on."""
    monkeypatch.setitem(smollm2.header.metadata, "llama.context_length", 10**9)
    async with scheduling(ollama_store) as scheduler:
        asking = scheduler.acquire(smollm2, Options(num_ctx=10**9))
        await raises(500, "requires more system memory .* than is available", asking)
        async with await scheduler.acquire(smollm2, Options()) as lease:
            assert (await use(lease)).eval_count == 3
