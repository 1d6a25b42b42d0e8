"""Who is told of a place in a queue, and which."""

from __future__ import annotations

import asyncio
from pathlib import Path

from scheduling import eventually, scheduling

from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.queue import Queue


def test_those_behind_move_up() -> None:
    queue = Queue()
    told: list[list[int]] = [[], [], []]
    places = [queue.place(one.append) for one in told]
    for place in places:
        place.__enter__()
    assert told == [[1], [2], [3]]
    places[1].__exit__(None, None, None)
    assert told == [[1], [2], [3, 2]]
    with queue.place(None):
        places[0].__exit__(None, None, None)
    assert told == [[1], [2], [3, 2, 1]]


async def test_places_before_a_slot(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store, num_parallel=1) as scheduler:

        async def use(told: list[int], free: asyncio.Event) -> None:
            async with await scheduler.acquire(smollm2, Options(num_ctx=256), None, told.append):
                await free.wait()

        told: list[list[int]] = [[], [], []]
        frees = [asyncio.Event() for _ in told]
        async with asyncio.TaskGroup() as group:
            first = group.create_task(use(told[0], frees[0]))
            await eventually(lambda: bool(scheduler.loaded()))
            assert told[0] == [0]
            for index in (1, 2):
                group.create_task(use(told[index], frees[index]))
                await eventually(lambda index=index: told[index] == [index])
            frees[0].set()
            await first
            await eventually(lambda: told[2] == [2, 1])
            assert told[1] == [1]
            for free in frees:
                free.set()
        assert told == [[0], [1], [2, 1]]
        quiet: list[int] = []
        await use(quiet, frees[0])
        assert quiet == []


async def test_places_before_a_load(scratch_store: Path, models: list[Model]) -> None:
    async with scheduling(scratch_store) as scheduler:
        told: list[list[int]] = [[], [], []]

        async def use(model: Model, mine: list[int]) -> None:
            async with await scheduler.acquire(model, Options(num_ctx=64), None, mine.append):
                pass

        async with asyncio.TaskGroup() as group:
            for model, mine in zip(models, told, strict=False):
                group.create_task(use(model, mine))
        assert told == [[0], [1, 0], [2, 1, 0]]
