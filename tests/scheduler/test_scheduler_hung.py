"""Loads and runners that hang: other models load meanwhile; the next request starts a new one."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
from scheduling import eventually, raises, scheduling, use

from jupyter_ollama.library.library import Library
from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options


async def test_a_load_that_hangs_blocks_no_other(
    ollama_store: Path, smollm2: Model, library: Library
) -> None:
    before = psutil.Process().children()
    async with scheduling(ollama_store, load_turn=0.2, load_silence=600) as scheduler:
        hung = asyncio.create_task(scheduler.acquire(smollm2, Options()))
        await eventually(lambda: len(psutil.Process().children()) > len(before))
        (child,) = (one for one in psutil.Process().children() if one not in before)
        child.send_signal(signal.SIGSTOP)
        other = library.find("all-minilm")
        async with await asyncio.wait_for(scheduler.acquire(other, Options()), 60) as lease:
            assert (await lease.runner.embed(["Hi"], 64)).count == 1
        assert not hung.done()
        child.send_signal(signal.SIGCONT)
        async with await asyncio.wait_for(hung, 60) as lease:
            assert (await use(lease)).eval_count == 3
        assert len(scheduler.loaded()) == 2


async def test_a_load_that_hangs_for_good_is_an_error_and_the_next_one_works(
    ollama_store: Path, smollm2: Model
) -> None:
    before = psutil.Process().children()
    traits = {"load_turn": 0.2, "load_silence": 1.0, "load_rate": 10**12}
    async with scheduling(ollama_store, **traits) as scheduler:
        hung = asyncio.create_task(scheduler.acquire(smollm2, Options()))
        await eventually(lambda: len(psutil.Process().children()) > len(before))
        (child,) = (one for one in psutil.Process().children() if one not in before)
        child.send_signal(signal.SIGSTOP)
        await raises(500, "stopped loading", asyncio.wait_for(hung, 60))
        assert not psutil.pid_exists(child.pid)
        async with await scheduler.acquire(smollm2, Options()) as lease:
            assert (await use(lease)).eval_count == 3


async def test_a_hung_runner_is_replaced_at_the_next_request(
    ollama_store: Path, smollm2: Model
) -> None:
    async with scheduling(ollama_store, runner_silence=1.0) as scheduler:
        async with await scheduler.acquire(smollm2, Options()) as lease:
            first = lease.runner.pid
            os.kill(first, signal.SIGSTOP)
            await raises(500, "stopped responding", asyncio.wait_for(use(lease), 30))
        async with await scheduler.acquire(smollm2, Options()) as lease:
            assert lease.runner.pid != first
            assert (await use(lease)).eval_count == 3
        (loaded,) = scheduler.loaded()
        assert loaded.runner.pid != first
