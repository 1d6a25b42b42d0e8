"""Preparation that takes long: accounts take turns, processes do it, a cancel ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from runners import running

from jupyter_ollama.engine.account_queue import AccountQueue, Cancelled, Job
from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.meter import current_account
from jupyter_ollama.engine.protocol import ChatPrompt, Constraint, PrefixSharing, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.runner_limits import RunnerLimits
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.options import Options
from jupyter_ollama.prompt.messages import Message

WORDS = "the quick brown fox jumps over the lazy dog. "
LONG = WORDS * 6000
"""More than 256 KiB, which are prepared in a process of their own."""
ENDLESS = "x" * 8_000_000
"""Seconds of tokenizing."""
SLOW_GRAMMAR = 'start: /((a|b|ab|ba){1,30}c){1,30}/ "%s"'
"""A grammar whose compilation takes until its limit."""


async def answer(runner: RunnerClient, prompt: Any, *, num_predict: int = 2, **given: Any) -> Done:
    """Return the end of an answer."""
    options = Options(num_predict=num_predict, temperature=0)
    async for event in runner.generate(prompt, options, **given):
        if isinstance(event, Done):
            return event
    raise AssertionError("no Done")


def started(account: int, work: Any) -> asyncio.Task[Any]:
    """Begin something in the name of an account."""

    async def run() -> Any:
        current_account.set(account)
        return await work

    return asyncio.create_task(run())


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(3000):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def helpers(runner: RunnerClient) -> list[psutil.Process]:
    return psutil.Process(runner.pid).children(recursive=True)


async def test_a_process_prepares_like_the_runner(smollm2: Path) -> None:
    async with running(smollm2, num_ctx=512) as runner:
        assert not helpers(runner)
        whole = await runner.tokenize(LONG)
        assert len(helpers(runner)) == 1
        part = await runner.tokenize(WORDS * 9)
        assert whole.tokens[: len(part.tokens) - 1] == part.tokens[:-1]
        assert b"".join(whole.pieces).decode() == LONG
        assert await runner.detokenize(whole.tokens * 2) == LONG * 2
        done = await answer(runner, RawPrompt(LONG))
        left = len(whole.tokens) - done.prompt_eval_count
        assert done.truncated == pytest.approx(left, rel=0.1)
        kept = await answer(runner, ChatPrompt([Message("user", WORDS)]))
        chat = [Message("user", WORDS) for _ in range(1100)]
        done = await answer(runner, ChatPrompt(chat))
        assert done.prompt_eval_count <= 512
        assert done.truncated > 500 * len(part.tokens) / 9
        assert kept.prompt_eval_count < 50
        rendered = await runner.render(ChatPrompt([Message("user", LONG)]), 2**20)
        assert LONG.strip() in rendered.text
        assert rendered.tokens > len(whole.tokens)


async def test_answers_to_long_conversations_keep_their_form(smollm2: Path) -> None:
    async with running(smollm2, num_ctx=512) as runner:
        chat = [Message("user", WORDS) for _ in range(1001)]
        text = ""
        events = runner.generate(
            ChatPrompt(chat), Options(num_predict=40, temperature=0), constraint=Constraint("json")
        )
        async for event in events:
            if isinstance(event, Text):
                text += event.text
        assert text.startswith("{")


async def test_errors_of_long_texts_are_those_of_short_ones(smollm2: Path) -> None:
    async with running(smollm2, num_ctx=512) as runner:
        with pytest.raises(OllamaError, match="exceeds the context length") as long_error:
            await answer(runner, RawPrompt(LONG), truncate=False)
        with pytest.raises(OllamaError) as short_error:
            await answer(runner, RawPrompt(WORDS * 400), truncate=False)
        assert str(long_error.value) == str(short_error.value)
        with pytest.raises(OllamaError, match="tokens that this model does not have"):
            await runner.detokenize([10**9] * 100_000)


async def test_long_texts_are_scored_and_embedded(smollm2: Path, minilm: Path) -> None:
    async with running(smollm2, num_ctx=512) as runner:
        with pytest.raises(OllamaError) as error:
            await runner.score(LONG, [f" {n}" for n in range(8)], 2048)
        assert error.value.status == 400
        assert len(helpers(runner)) == 1
        scored = await runner.score(WORDS, [" a", " b"], 2048)
        assert len(scored.continuations) == 2
        with pytest.raises(OllamaError, match="exceeds the context length"):
            await runner.score(WORDS, [" a", WORDS * 30_000], 2048)
    async with running(minilm) as runner:
        short = await runner.embed(["a", WORDS * 300, "b"], 256)
        mixed = await runner.embed(["a", WORDS * 2000, "b", WORDS * 3000], 256)
        assert mixed.count == 4
        size = 4 * short.size
        assert mixed.rows[: 2 * size] == short.rows[: 2 * size]
        assert mixed.rows[2 * size : 3 * size] == short.rows[2 * size :]
        with pytest.raises(OllamaError, match="exceeds the context length") as error:
            await runner.embed([WORDS * 3000], 256, truncate=False)


async def test_settings_decide_where_a_text_is_prepared_and_how_long_a_process_lives(
    smollm2: Path,
) -> None:
    text = WORDS * 900
    async with running(smollm2) as runner:
        await runner.tokenize(text)
        assert not helpers(runner)
    limits = RunnerLimits(preparation_bytes=2**15, preparation_idle=1.0)
    async with running(smollm2, limits=limits) as runner:
        await runner.tokenize(text)
        assert len(helpers(runner)) == 1
        await until(lambda: not helpers(runner))
    limits = RunnerLimits(preparation_bytes=2**15, preparation_processes=3)
    async with running(smollm2, limits=limits) as runner:
        tasks = [started(account, runner.tokenize(ENDLESS)) for account in range(1, 5)]
        await until(lambda: len(helpers(runner)) == 3)
        for task in tasks:
            task.cancel()
        await until(lambda: not helpers(runner))


async def test_no_account_waits_for_the_long_text_of_another(smollm2: Path) -> None:
    async with running(smollm2) as runner:
        slow = [started(1, runner.tokenize(ENDLESS)) for _ in range(3)]
        await until(lambda: bool(helpers(runner)))
        await started(2, answer(runner, RawPrompt("Once")))
        await started(2, runner.tokenize(LONG))
        assert not any(task.done() for task in slow)
        for task in slow:
            task.cancel()


async def test_cancelled_requests_are_not_prepared(smollm2: Path) -> None:
    async with running(smollm2) as runner:
        tasks = [started(1, runner.tokenize(ENDLESS)) for _ in range(20)]
        await until(lambda: bool(helpers(runner)))
        busy = {child.pid for child in helpers(runner)}
        for task in tasks:
            task.cancel()
        await until(lambda: not busy & {child.pid for child in helpers(runner)})
        assert len((await runner.tokenize(LONG)).tokens) > 40_000


async def test_grammars_of_cancelled_requests_delay_no_other(smollm2: Path) -> None:
    async with running(smollm2) as runner:
        await answer(runner, RawPrompt("Once"), constraint=Constraint("json"))
        cancelled = []
        for number in range(30):
            grammar = Constraint("grammar", SLOW_GRAMMAR % number)
            cancelled.append(started(1, answer(runner, RawPrompt("Once"), constraint=grammar)))
        await until(lambda: bool(helpers(runner)))
        await started(2, answer(runner, RawPrompt("Once"), constraint=Constraint("json")))
        assert not all(task.done() for task in cancelled)
        for task in cancelled:
            task.cancel()
        await until(lambda: not helpers(runner))
        await started(1, answer(runner, RawPrompt("Once"), constraint=Constraint("json")))


async def test_a_text_that_takes_too_long_is_refused_and_the_runner_goes_on(smollm2: Path) -> None:
    async with running(smollm2, preparation_seconds=0.5) as runner:
        with pytest.raises(OllamaError, match="take too long to prepare") as error:
            await runner.tokenize(ENDLESS)
        assert error.value.status == 400
        assert len((await runner.tokenize(LONG)).tokens) > 40_000
        assert (await answer(runner, RawPrompt("Once"))).eval_count == 2


async def test_a_request_that_ends_while_it_is_prepared_frees_everything(
    smollm2: Path,
) -> None:
    async with running(smollm2, num_parallel=2) as runner:
        for _ in range(5):
            events = runner.generate(RawPrompt(LONG), Options(num_predict=1000))
            async with aclosing(events):
                task = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0.05)  # any moment of the preparation will do
                task.cancel()
                await asyncio.wait([task])
        both = [answer(runner, RawPrompt("Once"), num_predict=20) for _ in range(2)]
        assert [done.eval_count for done in await asyncio.gather(*both)] == [20, 20]


def test_accounts_take_turns() -> None:
    waiting: AccountQueue[str] = AccountQueue()
    for account, work in ((1, "a"), (1, "b"), (1, "c"), (2, "x"), (3, "y")):
        waiting.put(account, work)
    order = []
    while True:
        with waiting.next(0) as work:
            if work is None:
                break
            order.append(work)
    assert order == ["a", "x", "y", "b", "c"]


def test_an_account_has_one_piece_of_work_at_a_time() -> None:
    waiting: AccountQueue[str] = AccountQueue()
    waiting.put(1, "a")
    waiting.put(1, "b")
    with waiting.next(0) as first:
        assert first == "a"
        with waiting.next(0) as second:
            assert second is None
        assert waiting.drop(1, "b")
        assert not waiting.drop(1, "a")


def test_a_job_that_is_cancelled_stops_its_step_and_goes_no_further() -> None:
    def step(job: Job) -> None:
        job.cancel()
        raise OSError("the error of a step that is ended")

    stopped: list[int] = []
    job = Job(1, 1, b"")
    with pytest.raises(Cancelled), job.stoppable(partial(stopped.append, 1)):
        step(job)
    with pytest.raises(Cancelled), job.stoppable(partial(stopped.append, 2)):
        raise AssertionError("not reached")
    assert stopped == [1]


async def test_a_question_is_read_before_the_long_prompts_of_another_account(
    smollm2: Path,
) -> None:
    async with running(smollm2, num_ctx=2048) as runner:
        order: list[str] = []

        async def ask(name: str, text: str) -> None:
            sharing = PrefixSharing(1 if name == "long" else 2)
            await answer(runner, RawPrompt(text), num_predict=1, sharing=sharing)
            order.append(name)

        long = [started(1, ask("long", f"{n} " + WORDS * 60)) for n in range(3)]
        await asyncio.sleep(0.3)  # the preparation of the long prompts runs for longer than this
        short = started(2, ask("short", "Once"))
        await asyncio.gather(*long, short)
        assert order[-1] == "long"
