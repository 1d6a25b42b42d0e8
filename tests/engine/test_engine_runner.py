"""A real runner process with a real model: limits, cancelling, dying, sampling."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from pathlib import Path

import psutil
import pytest
from runners import running

from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.protocol import ChatPrompt, LoadSpec, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.options import Options
from jupyter_ollama.prompt.messages import Message

HELLO = ChatPrompt([Message("user", "Tell me a long story about a lighthouse.")])


async def answer(
    runner: RunnerClient, prompt: ChatPrompt | RawPrompt = HELLO, **options: object
) -> tuple[str, Done]:
    chunks = []
    async for event in runner.generate(prompt, Options(**options)):
        if isinstance(event, Done):
            return "".join(chunks), event
        if isinstance(event, Text):
            chunks.append(event.text)
    raise AssertionError("no Done")


async def test_metrics_and_num_predict(smollm2: Path) -> None:
    async with running(smollm2) as runner:
        text, done = await answer(runner, num_predict=20, temperature=0)
        assert done.reason == "length"
        assert done.eval_count == 20
        assert done.prompt_eval_count > 10
        assert 0 < done.prompt_eval_duration < 60e9
        assert 0 < done.eval_duration < 60e9
        assert len(text.split()) > 5
        text, done = await answer(
            runner, ChatPrompt([Message("user", "What is the capital of France?")]), temperature=0
        )
        assert done.reason == "stop"
        assert runner.ready.size > smollm2.stat().st_size * 0.9
        assert runner.ready.size_vram == 0


async def test_stop_strings_end_an_answer_before_them(smollm2: Path) -> None:
    async with running(smollm2) as runner:
        whole, _ = await answer(runner, num_predict=60, temperature=0)
        stop = whole[40:52]
        text, done = await answer(runner, num_predict=60, temperature=0, stop=[stop])
        assert text == whole[: whole.index(stop)]
        assert done.reason == "stop"
        assert 0 < done.eval_count < 60


async def test_same_seed_same_text_other_seed_other_text(smollm2: Path) -> None:
    async with running(smollm2) as runner:
        first, _ = await answer(runner, num_predict=30, seed=7, temperature=1.2)
        again, _ = await answer(runner, num_predict=30, seed=7, temperature=1.2)
        other, _ = await answer(runner, num_predict=30, seed=8, temperature=1.2)
        assert first == again
        assert first != other


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 1, "temperature": 2.0},
        {"top_k": 0, "top_p": 0.0001, "temperature": 2.0},
        {"top_k": 0, "top_p": 1.0, "min_p": 1.0, "temperature": 1.0},
    ],
    ids=["top_k", "top_p", "min_p"],
)
async def test_samplers_that_leave_one_candidate_are_greedy(
    smollm2_f16: Path, options: dict[str, float]
) -> None:
    async with running(smollm2_f16) as runner:
        greedy, _ = await answer(runner, num_predict=12, temperature=0)
        assert (await answer(runner, num_predict=12, **options))[0] == greedy


async def test_penalties_and_mirostat_change_the_choice(smollm2: Path) -> None:
    loop = RawPrompt("1 " * 22)
    async with running(smollm2) as runner:
        plain, _ = await answer(runner, loop, num_predict=16, temperature=0)
        assert plain.count("1") > 6
        for penalty in ({"repeat_penalty": 2.0}, {"presence_penalty": 20.0}):
            text, _ = await answer(runner, loop, num_predict=16, temperature=0, **penalty)
            assert text.count("1") < 4
        kept, _ = await answer(
            runner, loop, num_predict=16, temperature=0, repeat_penalty=2.0, repeat_last_n=0
        )
        assert kept == plain
        for version in (1, 2):
            text, done = await answer(runner, num_predict=16, mirostat=version, seed=3)
            assert done.eval_count == 16


async def test_cancel_in_mid_stream_frees_the_slot(smollm2: Path) -> None:
    async with running(smollm2, num_parallel=1) as runner:
        stream = runner.generate(HELLO, Options(num_predict=2000, seed=1))
        assert isinstance(await anext(stream), Text)
        await stream.aclose()
        # With one slot only, an answer proves that the first request is gone.
        _, done = await asyncio.wait_for(answer(runner, num_predict=3), 10)
        assert done.eval_count == 3


async def test_cancel_in_prefill_frees_the_slot(smollm2: Path) -> None:
    long = RawPrompt("The quick brown fox jumps over the lazy dog. " * 700)
    async with running(smollm2, num_parallel=1, num_ctx=8192) as runner:
        whole = asyncio.create_task(answer(runner, long, num_predict=1))
        await asyncio.sleep(0.3)  # any moment of the prefill will do; it takes many seconds
        assert not whole.done()
        whole.cancel()
        _, done = await answer(runner, num_predict=3)
        # The prefill of the long prompt did not run to its end.
        assert done.prompt_eval_duration < 5e9


async def test_a_running_stream_goes_on_while_a_long_prompt_is_read(smollm2: Path) -> None:
    long = RawPrompt("The quick brown fox jumps over the lazy dog. " * 150)
    async with running(smollm2) as runner:
        stream = runner.generate(HELLO, Options(num_predict=3000, seed=1))
        await anext(stream)
        reading = asyncio.create_task(answer(runner, long, num_predict=1))
        meanwhile = 0
        while not reading.done():
            assert isinstance(await anext(stream), Text)
            meanwhile += 1
        await stream.aclose()
    # At 150 ms a step; without chunks there would be one token, that of the step before.
    assert meanwhile > 5


async def test_an_idle_runner_uses_no_cpu(smollm2: Path) -> None:
    async with running(smollm2) as runner:
        await answer(runner, num_predict=2)
        process = psutil.Process(runner.pid)
        await asyncio.sleep(0.5)
        before = process.cpu_times()
        await asyncio.sleep(1)  # the time that is measured
        after = process.cpu_times()
    assert after.user + after.system - before.user - before.system <= 0.02


async def test_a_full_context_is_shifted_or_ends_the_answer(smollm2: Path) -> None:
    prompt = RawPrompt("1 1 1 1 1 1 1 1 1 1 1 1")
    async with running(smollm2, num_ctx=64) as runner:
        _, done = await answer(runner, prompt, num_predict=200, temperature=0)
        assert done.eval_count == 200
        events = [
            event
            async for event in runner.generate(
                prompt, Options(num_predict=200, temperature=0), shift=False
            )
        ]
        done = events[-1]
        assert isinstance(done, Done)
        assert done.reason == "length"
        assert done.prompt_eval_count + done.eval_count in (64, 65)


async def test_a_prompt_longer_than_the_context(smollm2: Path) -> None:
    prompt = RawPrompt("alpha beta gamma delta " * 100)
    async with running(smollm2, num_ctx=128) as runner:
        _, done = await answer(runner, prompt, num_predict=5)
        assert done.truncated > 100
        assert done.prompt_eval_count < 128
        with pytest.raises(OllamaError, match="the input length exceeds the context length"):
            await anext(runner.generate(prompt, Options(), truncate=False))
        with pytest.raises(OllamaError, match="the prompt is longer than the context length"):
            await anext(runner.generate(prompt, Options(), shift=False))


async def test_old_messages_are_dropped_for_the_last(smollm2: Path) -> None:
    turns = [Message("user" if n % 2 == 0 else "assistant", f"turn {n} " * 10) for n in range(40)]
    messages = [Message("system", "Be brief."), *turns, Message("user", "the last question")]
    async with running(smollm2, num_ctx=256) as runner:
        text = (await runner.render(ChatPrompt(messages), 256)).text
        assert "Be brief." in text
        assert "the last question" in text
        assert "turn 0" not in text
        assert "turn 39" in text
        whole = (await runner.render(ChatPrompt(messages, truncate=False), 256)).text
        assert "turn 0" in whole


async def test_streams_of_a_killed_runner_end_with_an_error(smollm2: Path) -> None:
    endless = Options(num_predict=2000, logit_bias={2: -100.0})  # <|im_end|>
    async with running(smollm2) as runner:
        streams = [runner.generate(HELLO, endless) for _ in range(8)]
        for stream in streams:
            await anext(stream)
        os.kill(runner.pid, signal.SIGKILL)
        killed = asyncio.get_running_loop().time()
        for stream in streams:
            with pytest.raises(OllamaError, match="unexpectedly stopped"):
                async for _ in stream:
                    pass
        assert asyncio.get_running_loop().time() - killed < 1
        with pytest.raises(OllamaError, match="unexpectedly stopped"):
            await anext(runner.generate(HELLO, Options()))


async def test_a_broken_template_is_reported_and_affects_no_other_request(smollm2: Path) -> None:
    template = "{{ range .Messages }}{{ .Content }}{{ end"
    async with running(smollm2) as runner:
        with pytest.raises(OllamaError, match="template error"):
            await anext(runner.generate(ChatPrompt(HELLO.messages, template), Options()))
        assert runner.is_alive


async def test_a_file_that_is_not_a_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 64)
    with pytest.raises(OllamaError) as caught:
        await RunnerClient.start(LoadSpec(model=str(path)), load_timeout=60)
    assert caught.value.status == 500
    assert caught.value.message


async def test_a_runner_ends_with_its_parent(smollm2: Path) -> None:
    """The parent's end of stdin closes with it, however it ends."""
    runner = await RunnerClient.start(LoadSpec(model=str(smollm2)), load_timeout=60)
    assert runner._process.stdin
    runner._process.stdin.close()
    await asyncio.wait_for(runner.exited, 5)


@pytest.mark.parametrize("num_ctx", [4, 8, 100])
async def test_a_tiny_context_answers(smollm2: Path, num_ctx: int) -> None:
    async with running(smollm2, num_ctx=num_ctx) as runner:
        done = await asyncio.gather(
            *(answer(runner, RawPrompt("One two three four"), num_predict=9) for _ in range(16))
        )
        assert all(end.eval_count for _, end in done)


@pytest.mark.parametrize(
    "options",
    [
        {"repeat_last_n": 2**31 - 1, "repeat_penalty": 1.5},
        {"top_k": 2**31 - 1, "temperature": 1e30, "num_ctx": 4096},
        {"num_predict": -2, "stop": ["e"]},
    ],
    ids=["repeat_last_n", "top_k", "num_predict"],
)
async def test_extreme_options_are_survived(smollm2: Path, options: dict[str, object]) -> None:
    async with running(smollm2) as runner:
        before = psutil.Process(runner.pid).memory_info().rss
        _, done = await answer(runner, **{"num_predict": 5, "num_ctx": 4096, **options})
        assert done.eval_count
        assert psutil.Process(runner.pid).memory_info().rss - before < 2**28


async def test_extreme_load_options_are_bounded(smollm2: Path) -> None:
    async with running(smollm2, num_batch=10**8, num_thread=1000, num_gpu=99) as runner:
        _, done = await answer(runner, num_predict=5)
        assert done.eval_count == 5
        assert psutil.Process(runner.pid).memory_info().rss < 2**30


async def test_a_text_that_cannot_be_sent_costs_the_runner_not_its_requests(smollm2: Path) -> None:
    """A thread that dies ends the process, so that no request waits for ever."""
    async with running(smollm2) as runner:
        stream = runner.generate(HELLO, Options(num_predict=3000, seed=1))
        await anext(stream)
        runner._connection.send(b"this is no command")
        with pytest.raises(OllamaError, match="unexpectedly stopped"):
            async for _ in stream:
                pass


async def test_a_runner_that_died_can_be_stopped_at_any_moment(smollm2: Path) -> None:
    for delay in (0.0, 0.02, 0.04, 0.2):
        runner = await RunnerClient.start(LoadSpec(model=str(smollm2)), load_timeout=60)
        os.kill(runner.pid, signal.SIGKILL)
        await asyncio.sleep(delay)
        await asyncio.wait_for(runner.stop(), 10)
        assert runner.exited.done()


async def test_a_load_that_is_cancelled_leaves_no_error_in_the_log(
    smollm2: Path, caplog: pytest.LogCaptureFixture
) -> None:
    children = set(psutil.Process().children())
    load = asyncio.create_task(RunnerClient.start(LoadSpec(str(smollm2)), 60))
    while not set(psutil.Process().children()) - children:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    del load
    gc.collect()
    assert not caplog.records


async def test_modules_of_the_working_folder_are_not_loaded(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit('a file of the user')")
    monkeypatch.chdir(tmp_path)
    async with running(smollm2) as runner:
        assert (await answer(runner, num_predict=2))[1].eval_count == 2


async def test_a_runner_reports_how_many_drafts_were_accepted(smollm2: Path) -> None:
    """A text that repeats itself is drafted by n-grams, and mostly right."""
    prompt = RawPrompt("one two three four " * 12)
    async with running(smollm2) as runner:
        _, done = await answer(runner, prompt, num_predict=60)
        async with asyncio.timeout(20):
            while not runner.memory.drafted:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert 0 < runner.memory.accepted[0] < done.eval_count
        assert runner.memory.accepted[0] <= runner.memory.drafted[0]
