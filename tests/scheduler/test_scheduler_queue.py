"""The positions in queues that requests are notified of."""

from __future__ import annotations

import asyncio
from pathlib import Path

from scheduling import eventually, scheduling

from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.load import LoadQueue


def test_later_requests_move_up() -> None:
    queue = LoadQueue()
    reported: list[list[int]] = [[], [], []]
    positions = [queue.position(one.append) for one in reported]
    for position in positions:
        position.__enter__()
    assert reported == [[1], [2], [3]]
    positions[1].__exit__(None, None, None)
    assert reported == [[1], [2], [3, 2]]
    with queue.position(None):
        positions[0].__exit__(None, None, None)
    assert reported == [[1], [2], [3, 2, 1]]


async def test_positions_before_a_slot(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store, num_parallel=1) as scheduler:

        async def use(reported: list[int], free: asyncio.Event) -> None:
            async with await scheduler.acquire(
                smollm2, Options(num_ctx=256), None, reported.append
            ):
                await free.wait()

        reported: list[list[int]] = [[], [], []]
        frees = [asyncio.Event() for _ in reported]
        async with asyncio.TaskGroup() as group:
            first = group.create_task(use(reported[0], frees[0]))
            await eventually(lambda: bool(scheduler.loaded()))
            assert reported[0] == [0]
            for index in (1, 2):
                group.create_task(use(reported[index], frees[index]))
                await eventually(lambda index=index: reported[index] == [index])
            frees[0].set()
            await first
            await eventually(lambda: reported[2] == [2, 1])
            assert reported[1] == [1]
            for free in frees:
                free.set()
        assert reported == [[0], [1], [2, 1]]
        quiet: list[int] = []
        await use(quiet, frees[0])
        assert quiet == []


async def test_positions_before_a_load(scratch_store: Path, models: list[Model]) -> None:
    async with scheduling(scratch_store) as scheduler:
        reported: list[list[int]] = [[], [], []]

        async def use(model: Model, mine: list[int]) -> None:
            async with await scheduler.acquire(model, Options(num_ctx=64), None, mine.append):
                pass

        async with asyncio.TaskGroup() as group:
            for model, mine in zip(models, reported, strict=False):
                group.create_task(use(model, mine))
        assert reported == [[0], [1, 0], [2, 1, 0]]
