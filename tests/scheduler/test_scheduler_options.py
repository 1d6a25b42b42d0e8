"""Load options of requests: their checks, and when they share or reload a loaded model."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scheduling import raises, scheduling, use

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.model import Model
from jupyter_ollama.options import Options, merge_options
from jupyter_ollama.scheduler.account import Account
from jupyter_ollama.scheduler.limits import Limits
from jupyter_ollama.scheduler.load_request import build_load_request
from jupyter_ollama.scheduler.request import ModelRequest, current_request
from jupyter_ollama.scheduler.scheduler import Scheduler


async def pid(scheduler: Scheduler, model: Model, **options: Any) -> int:
    async with await scheduler.acquire(model, merge_options(options)[0]) as lease:
        assert (await use(lease)).eval_count == 3
        return lease.runner.pid


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("kv_cache_type", "Q8_0", "q8_0"),
        ("kv_cache_type", "f16", "f16"),
        ("flash_attention", False, False),
        ("tensor_split", [3, 1.5], [3.0, 1.5]),
        ("tensor_split", 1, [1.0]),
        ("num_gpu", 7.9, 7),
        ("num_cpu_moe", 12, 12),
        ("num_cpu_moe", -5, -1),
    ],
)
def test_options_that_decide_on_the_load(name: str, value: Any, taken: Any) -> None:
    assert getattr(merge_options({name: value})[0], name) == taken
    assert getattr(merge_options({name: value}, {name: None})[0], name) == taken


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("kv_cache_type", "q5_1", 'must be one of f16, q8_0, q4_0, not "q5_1"'),
        ("kv_cache_type", "", "must be one of"),
        ("kv_cache_type", 8, "must be of type string"),
        ("flash_attention", "yes", "must be of type boolean"),
        ("flash_attention", 1, "must be of type boolean"),
        ("tensor_split", "3,1", "must be an array of numbers, none negative and not all 0"),
        ("tensor_split", [1, -1], "must be an array of numbers"),
        ("tensor_split", [0, 0], "must be an array of numbers"),
        ("tensor_split", [], "must be an array of numbers"),
        ("tensor_split", [1e400], "must be an array of numbers"),
        ("tensor_split", [True], "must be an array of numbers"),
    ],
)
def test_invalid_values(name: str, value: Any, text: str) -> None:
    with pytest.raises(OllamaError) as caught:
        merge_options({name: value})
    assert caught.value.status == 400
    assert caught.value.message.startswith(f'option "{name}" {text}')


def test_the_request_wins_over_the_server(smollm2: Model) -> None:
    server = OllamaServer(kv_cache_type="q4_0", flash_attention=True)
    spec = build_load_request(smollm2, Options(), None, server).spec
    assert (spec.kv_cache_type, spec.flash_attention) == ("q4_0", True)
    options = Options(kv_cache_type="f16", flash_attention=False, tensor_split=[2, 1])
    spec = build_load_request(smollm2, options, None, server).spec
    assert (spec.kv_cache_type, spec.flash_attention) == ("f16", False)
    assert spec.tensor_split == (2, 1)


def test_the_server_decides_about_gpus(smollm2: Model) -> None:
    server = OllamaServer(gpu_overhead=2**30, sched_spread=True)
    spec = build_load_request(smollm2, Options(), None, server).spec
    assert (spec.gpu_overhead, spec.sched_spread) == (2**30, True)
    spec = build_load_request(smollm2, Options(num_cpu_moe=3), None, OllamaServer()).spec
    assert (spec.gpu_overhead, spec.sched_spread, spec.num_cpu_moe) == (0, False, 3)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({}, Options(kv_cache_type="q8_0", flash_attention=False)),
        ({"flash_attention": False}, Options(kv_cache_type="q8_0")),
        ({"kv_cache_type": "q8_0"}, Options(flash_attention=False)),
    ],
)
async def test_a_quantized_cache_without_flash_attention_is_refused(
    ollama_store: Path, smollm2: Model, settings: dict[str, Any], options: Options
) -> None:
    async with scheduling(ollama_store, **settings) as scheduler:
        message = 'kv_cache_type "q8_0" needs flash attention, but flash_attention is false'
        await raises(400, message, scheduler.acquire(smollm2, options))
        assert scheduler.loaded() == []


def test_the_server_warns_of_such_a_setting_and_starts(
    smollm2: Model, caplog: pytest.LogCaptureFixture
) -> None:
    server = OllamaServer(kv_cache_type="q8_0", flash_attention=False)
    with caplog.at_level(logging.WARNING, "jupyter_ollama"):
        Scheduler(server, server.library)
    assert "needs flash attention" in caplog.text
    assert build_load_request(smollm2, Options(), None, server).spec.kv_cache_type == "f16"


async def test_requests_without_options_share_and_other_values_reload(
    ollama_store: Path, smollm2: Model
) -> None:
    async with scheduling(ollama_store, context_length=512) as scheduler:
        plain = await pid(scheduler, smollm2)
        size = scheduler.loaded()[0].size
        quantized = await pid(scheduler, smollm2, kv_cache_type="q8_0")
        assert quantized != plain
        # 45 MiB of cache became 24.
        assert 15 * 2**20 < size - scheduler.loaded()[0].size < 25 * 2**20
        assert await pid(scheduler, smollm2) == quantized
        assert await pid(scheduler, smollm2, kv_cache_type="q8_0") == quantized
        other = await pid(scheduler, smollm2, flash_attention=False)
        assert other != quantized
        # This host has no GPU, but the option is still a load option.
        assert await pid(scheduler, smollm2, tensor_split=[1, 1]) != other


async def test_a_longer_context_does_not_reload(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store, context_length=256) as scheduler:
        first = await pid(scheduler, smollm2)
        (loaded,) = scheduler.loaded()
        size = loaded.size
        assert await pid(scheduler, smollm2, num_ctx=128) == first
        assert loaded.num_ctx == 256
        assert await pid(scheduler, smollm2, num_ctx=2048) == first
        assert loaded.num_ctx == 2048
        # 22.5 KiB a token, four contexts of 2048 instead of 256 tokens.
        assert 140 * 2**20 < loaded.size - size < 180 * 2**20
        assert await pid(scheduler, smollm2) == first
        async with await scheduler.acquire(smollm2, Options(num_ctx=10**9)) as lease:
            assert lease.num_ctx == 8192
            assert lease.runner.pid == first


async def test_a_request_without_num_ctx_gets_the_default_of_the_machine(
    ollama_store: Path, smollm2: Model
) -> None:
    async with scheduling(ollama_store) as scheduler:
        async with await scheduler.acquire(smollm2, Options(num_ctx=256)) as lease:
            assert (lease.num_ctx, lease.runner.ready.num_ctx) == (256, 256)
            first = lease.runner.pid
        async with await scheduler.acquire(smollm2, Options()) as lease:
            assert (lease.num_ctx, lease.runner.ready.num_ctx) == (4096, 4096)
            assert lease.runner.pid == first
        # A request for more does not change the lengths of the others.
        async with await scheduler.acquire(smollm2, Options(num_ctx=8192)) as lease:
            assert lease.num_ctx == 8192
        async with await scheduler.acquire(smollm2, Options()) as lease:
            assert (lease.num_ctx, lease.runner.ready.num_ctx) == (4096, 8192)
            assert lease.runner.pid == first


async def test_a_request_without_num_ctx_does_not_share_the_load_of_a_shorter_context(
    ollama_store: Path, smollm2: Model
) -> None:
    async with scheduling(ollama_store) as scheduler:

        async def ask(**options: int) -> int:
            async with await scheduler.acquire(smollm2, Options(**options)) as lease:
                return lease.num_ctx

        asked = ({"num_ctx": 64}, {}, {"num_ctx": 8192}, {}, {"num_ctx": 128})
        lengths = await asyncio.gather(*(ask(**options) for options in asked))
        assert lengths == [64, 4096, 8192, 4096, 128]


@pytest.mark.parametrize(("limit", "given"), [(100, 100), (5000, 5000), (9000, 8192)])
async def test_a_limit_applies_to_requests_without_num_ctx(
    ollama_store: Path, smollm2: Model, limit: int, given: int
) -> None:
    async with scheduling(ollama_store) as scheduler:
        async with await scheduler.acquire(smollm2, Options(num_ctx=8192)) as lease:
            # As on a host with a large GPU.
            ready = msgspec.structs.replace(lease.runner.ready, default_num_ctx=8192)
            lease.runner.ready = ready
        token = current_request.set(ModelRequest(Account("ann"), Limits(num_ctx=limit), bulk=False))
        try:
            async with await scheduler.acquire(smollm2, Options()) as lease:
                assert lease.num_ctx == given
        finally:
            current_request.reset(token)


async def test_contexts_of_many_lengths_at_once(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store, context_length=256, keep_alive=0) as scheduler:

        async def ask(num_ctx: int) -> tuple[int, int]:
            async with await scheduler.acquire(smollm2, Options(num_ctx=num_ctx)) as lease:
                assert lease.num_ctx == num_ctx
                assert (await use(lease, 8)).eval_count == 8
                return num_ctx, lease.runner.pid

        answers = await asyncio.gather(*(ask(n) for n in (256, 512, 1024, 300, 512, 2048, 128)))
        assert len({pid for _, pid in answers}) == 1


async def test_a_stream_goes_on_while_the_context_grows(ollama_store: Path, smollm2: Model) -> None:
    async with scheduling(ollama_store, context_length=256) as scheduler:
        async with await scheduler.acquire(smollm2, Options()) as lease:
            options = Options(num_ctx=256, num_predict=150, temperature=0)
            stream = lease.runner.generate(RawPrompt("Once upon a time"), options)
            await anext(stream)
            assert await pid(scheduler, smollm2, num_ctx=2048) == lease.runner.pid
            events = [event async for event in stream]
        done = events[-1]
        assert isinstance(done, Done)
        assert done.eval_count == 150


async def test_an_embedding_model_keeps_its_runner_when_its_context_grows(
    ollama_store: Path, minilm: Model
) -> None:
    async with scheduling(ollama_store, context_length=256) as scheduler:

        async def embed(text: str, num_ctx: int) -> tuple[int, int]:
            async with await scheduler.acquire(minilm, Options(num_ctx=num_ctx)) as lease:
                answer = await lease.runner.embed([text] * 20, lease.num_ctx, truncate=False)
                return lease.runner.pid, answer.prompt_eval_count // 20

        asking = ((200, 256), (400, 512), (100, 256), (500, 512))
        answers = await asyncio.gather(*(embed("sand " * n, num_ctx) for n, num_ctx in asking))
        assert {runner for runner, _ in answers} == {(await embed("sand", 0))[0]}
        assert [tokens for _, tokens in answers] == [202, 402, 102, 502]


async def test_a_context_that_cannot_grow_is_reloaded_or_refused(
    ollama_store: Path, smollm2: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(smollm2.header.metadata, "llama.context_length", 10**9)
    async with scheduling(ollama_store, context_length=256) as scheduler:
        first = await pid(scheduler, smollm2)
        (loaded,) = scheduler.loaded()
        assert not await loaded.grow(10**9)
        assert (loaded.num_ctx, loaded.users) == (256, 0)
        assert await pid(scheduler, smollm2) == first
        asking = scheduler.acquire(smollm2, Options(num_ctx=10**9))
        await raises(500, "requires more system memory", asking)
        assert await pid(scheduler, smollm2) != first


async def test_as_many_requests_run_at_once_as_the_model_has_slots(
    ollama_store: Path, smollm2: Model
) -> None:
    async with scheduling(ollama_store, num_parallel=3, context_length=256) as scheduler:
        for wanted, slots in ((0, 3), (2, 2), (0, 2), (1, 1)):
            options = Options(num_parallel=wanted)
            async with await scheduler.acquire(smollm2, options) as lease:
                assert lease.runner.ready.slots == slots
                assert (await use(lease)).eval_count == 3
