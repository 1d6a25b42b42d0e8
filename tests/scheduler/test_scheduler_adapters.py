"""Models that differ in their adapters: one runner and one copy of the weights for all of them."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import psutil
import pytest
from hosts import Host
from lora_files import write_lora
from scheduling import eventually, names, raises, scheduling, touch
from store_models import create_model

from jupyter_ollama.engine.events import Text
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.scheduler import Scheduler

NEAR = 0.3


def adapt(library: Library, name: str, path: Path, **fields: object) -> Model:
    """Create a model of SmolLM2 and an adapter."""
    digest = library.store.add_blob(path.read_bytes()).digest
    adapters = {"adapter.gguf": digest}
    create_model(library, model=name, **{"from": "smollm2"}, adapters=adapters, **fields)
    return library.find(name)


@pytest.fixture
def stock(scratch_store: Path) -> Library:
    """A library that a test may change."""
    return Library.open(scratch_store)


@pytest.fixture
def minilm(stock: Library) -> Model:
    """Another model of that library."""
    return stock.find("all-minilm")


@pytest.fixture
def family(stock: Library, tmp_path: Path) -> list[Model]:
    """SmolLM2, and two models of it with an adapter each: smollm2, tuned and xtuned."""
    base = stock.find("smollm2")
    paths = [write_lora(base.model_path, tmp_path / f"{n}.gguf", seed=n, alpha=16) for n in (1, 2)]
    return [base, adapt(stock, "tuned", paths[0]), adapt(stock, "xtuned", paths[1])]


async def say(scheduler: Scheduler, model: Model, tokens: int = 8) -> str:
    """Return the beginning of a greedy answer."""
    options = Options(temperature=0, num_predict=tokens, repetition_stop=False)
    async with await scheduler.acquire(model, options) as lease:
        events = lease.runner.generate(RawPrompt("Once upon a time"), options, stream=False)
        return "".join([event.text async for event in events if isinstance(event, Text)])


async def judge(scheduler: Scheduler, model: Model) -> list[float]:
    """Return the log-probabilities of the tokens of a text."""
    async with await scheduler.acquire(model, Options()) as lease:
        text = " there was a king who had three sons and a mill."
        scored = await lease.runner.score("Once upon a time", [text], 256)
        return [one.logprob for one in scored.continuations[0]]


def pids(scheduler: Scheduler) -> set[int]:
    return {loaded.runner.pid for loaded in scheduler.loaded()}


async def test_answers_are_those_of_each_model_alone(
    scratch_store: Path, family: list[Model]
) -> None:
    alone, scores = [], []
    for model in family:
        async with scheduling(scratch_store) as scheduler:
            alone.append(await say(scheduler, model))
            scores.append(await judge(scheduler, model))
    assert len({*alone}) == len(family)
    async with scheduling(scratch_store) as scheduler:
        together = await asyncio.gather(*(judge(scheduler, model) for model in family * 2))
        for found, expected in zip(together, scores * 2, strict=True):
            # Beside others the last bits differ, and quantized weights round them up.
            assert found == pytest.approx(expected, abs=NEAR)
        for one, other in combinations(scores, 2):
            assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 2 * NEAR
        assert [await say(scheduler, model) for model in reversed(family)] == alone[::-1]
        assert names(scheduler) == "stx"
        assert len(pids(scheduler)) == 1


async def test_the_weights_are_in_memory_once(scratch_store: Path, family: list[Model]) -> None:
    async with scheduling(scratch_store) as scheduler:
        await touch(scheduler, family[1])
        (tuned,) = scheduler.loaded()
        assert tuned.size_shared == 0
        single = psutil.Process(tuned.runner.pid).memory_info().rss
        await touch(scheduler, family[0], family[2])
        base = scheduler.loaded()[0].base
        assert psutil.Process(tuned.runner.pid).memory_info().rss - single < 40e6
        for loaded in scheduler.loaded():
            own = loaded.adaptation.size
            assert bool(own) == bool(loaded.key[1])
            assert loaded.size == loaded.size_shared + own
        parts = sum(one.part_of_memory(vram=False) for one in scheduler.loaded())
        assert parts == pytest.approx(base.size, abs=3)


async def test_each_model_expires_by_its_own_keep_alive(
    scratch_store: Path, family: list[Model]
) -> None:
    async with scheduling(scratch_store) as scheduler:
        await touch(scheduler, family[0], keep_alive=2.0)
        await touch(scheduler, family[1], keep_alive=math.inf)
        await touch(scheduler, family[2], keep_alive=0.0)
        (pid,) = pids(scheduler)
        await eventually(lambda: names(scheduler) == "st")
        await eventually(lambda: names(scheduler) == "t")
        assert psutil.pid_exists(pid)
        assert await say(scheduler, family[1])
        scheduler.expire(family[1])
        await eventually(lambda: not scheduler.loaded())
        await eventually(lambda: not psutil.pid_exists(pid))


async def test_an_unloaded_model_leaves_the_others_and_gives_its_memory_back(
    scratch_store: Path, family: list[Model]
) -> None:
    async with scheduling(scratch_store) as scheduler:
        await touch(scheduler, *family)
        before = pids(scheduler)
        base = scheduler.loaded()[0].base
        size = base.size
        async with await scheduler.acquire(family[2], Options()):
            scheduler.expire(family[1])
            scheduler.expire(family[2])
            await eventually(lambda: names(scheduler) == "sx")
        await eventually(lambda: names(scheduler) == "s")
        await eventually(lambda: base.size < size)
        assert await say(scheduler, family[1])
        assert pids(scheduler) == before


async def test_a_runner_is_evicted_with_all_of_its_models(
    scratch_store: Path, family: list[Model], minilm: Model
) -> None:
    async with scheduling(scratch_store, max_loaded_models=1) as scheduler:
        await touch(scheduler, *family)
        assert names(scheduler) == "stx"
        await touch(scheduler, minilm)
        assert names(scheduler) == "a"
        await touch(scheduler, family[1])
        assert names(scheduler) == "t"


async def test_memory_for_further_adapters_is_not_asked_for_the_weights(
    scratch_store: Path, family: list[Model], minilm: Model, host: Host
) -> None:
    host.capacity = 2
    async with scheduling(scratch_store) as scheduler:
        await touch(scheduler, minilm, *family)
        assert names(scheduler) == "astx"
        assert (host.started, host.refused) == (2, 0)


async def test_a_broken_adapter_is_an_error_of_its_model_alone(
    scratch_store: Path,
    stock: Library,
    family: list[Model],
    minilm: Model,
    tmp_path: Path,
    children: Callable[[], list[psutil.Process]],
) -> None:
    path = write_lora(minilm.model_path, tmp_path / "broken.gguf", tensor="blk.0.attn_q.weight")
    broken = adapt(stock, "broken", path)
    async with scheduling(scratch_store) as scheduler:
        await raises(500, "unable to load adapter", scheduler.acquire(broken, Options()))
        assert not scheduler.loaded()
        await eventually(lambda: not children())
        async with await scheduler.acquire(family[1], Options()):
            await raises(500, "unable to load adapter", scheduler.acquire(broken, Options()))
        before = pids(scheduler)
        assert names(scheduler) == "t"
        assert await say(scheduler, family[1]) != await say(scheduler, family[0])
        assert pids(scheduler) == before


async def test_a_model_that_gets_another_adapter(
    scratch_store: Path, stock: Library, family: list[Model], tmp_path: Path
) -> None:
    async with scheduling(scratch_store) as scheduler:
        first = await say(scheduler, stock.find("tuned"))
        await touch(scheduler, family[0])
        before = pids(scheduler)
        other = write_lora(family[0].model_path, tmp_path / "new.gguf", seed=9, alpha=32)
        changed = adapt(stock, "tuned", other)
        assert await say(scheduler, changed) not in (first, await say(scheduler, family[0]))
        await scheduler.check_library()
        assert names(scheduler) == "st"
        assert pids(scheduler) == before


async def test_load_options_of_one_model_do_not_reload_the_others(
    scratch_store: Path, family: list[Model]
) -> None:
    async with scheduling(scratch_store) as scheduler:
        await touch(scheduler, *family[:2])
        (pid,) = pids(scheduler)
        async with await scheduler.acquire(family[0], Options()) as lease:
            async with await scheduler.acquire(family[1], Options(num_batch=64)) as other:
                assert other.runner.runner.pid != pid
                assert len(pids(scheduler)) == 2
            assert lease.runner.pid == pid
        assert names(scheduler) == "st"
        # Its own load options again: the others' runner serves it.
        async with await scheduler.acquire(family[2], Options()) as lease:
            assert lease.runner.runner.pid in pids(scheduler)
        assert len(pids(scheduler)) == 2


async def test_a_model_that_returns_to_a_runner_keeps_its_adapters(
    scratch_store: Path, family: list[Model]
) -> None:
    async with scheduling(scratch_store) as scheduler:
        usual, other = Options(num_batch=128), Options(num_batch=64)
        await touch(scheduler, family[1])
        expected = await judge(scheduler, family[1])
        async with await scheduler.acquire(family[0], Options()):
            async with await scheduler.acquire(family[1], usual) as first:
                before = first.runner
            async with await scheduler.acquire(family[0], usual):
                running = await scheduler.acquire(family[1], usual)
                async with await scheduler.acquire(family[1], other) as away:
                    assert away.runner.runner.pid != before.runner.pid
                again = await scheduler.acquire(family[1], usual)
                assert again.runner is running.runner is before
                running.release()
                await asyncio.sleep(0.1)
                scored = await again.runner.score(
                    "Once upon a time", [" there was a king who had three sons and a mill."], 256
                )
                again.release()
        found = [one.logprob for one in scored.continuations[0]]
        assert found == pytest.approx(expected, abs=NEAR)


async def test_models_wait_for_a_slot_of_the_same_runner(
    scratch_store: Path, family: list[Model]
) -> None:
    async with scheduling(scratch_store, num_parallel=1) as scheduler:
        await touch(scheduler, *family)
        async with await scheduler.acquire(family[0], Options()):
            waiting = asyncio.create_task(scheduler.acquire(family[1], Options()))
            await asyncio.sleep(0.1)
            assert not waiting.done()
        async with await waiting:
            pass


async def test_a_crash_ends_all_models_of_the_runner(
    scratch_store: Path, family: list[Model]
) -> None:
    async with scheduling(scratch_store) as scheduler:
        await touch(scheduler, *family)
        (pid,) = pids(scheduler)
        os.kill(pid, 9)
        await eventually(lambda: not scheduler.loaded())
        assert await say(scheduler, family[1])
        assert names(scheduler) == "t"


async def test_an_encoder_and_its_adapter(
    scratch_store: Path, stock: Library, minilm: Model, tmp_path: Path
) -> None:
    lora = write_lora(minilm.model_path, tmp_path / "lora.gguf", tensor="blk.0.ffn_up.weight")
    digest = stock.store.add_blob(lora.read_bytes()).digest
    create_model(stock, model="tuned", **{"from": "all-minilm"}, adapters={"a.gguf": digest})
    async with scheduling(scratch_store) as scheduler:
        rows = []
        for model in (minilm, stock.find("tuned")):
            async with await scheduler.acquire(model, Options()) as lease:
                rows.append((await lease.runner.embed(["A cat"], 256)).rows)
        assert rows[0] != rows[1]
        assert len(pids(scheduler)) == 1
