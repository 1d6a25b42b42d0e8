"""No token is read twice, by the cached counts that a runner reports."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from plain_loop import PlainLoop
from runners import running
from steps import Steps, fix_chunk

from jupyter_ollama.engine import prefix_store, run_queue, saved_state
from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.protocol import ChatPrompt, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.options import Options
from jupyter_ollama.prompt.messages import Message

RULES = "You are a patient teacher in a school by the sea. Use short words. " * 8


async def ask(
    runner: RunnerClient, prompt: ChatPrompt | RawPrompt, count: int = 8
) -> tuple[str, Done]:
    text = ""
    events = runner.generate(prompt, Options(temperature=0, num_predict=count), return_context=True)
    async for event in events:
        if isinstance(event, Done):
            return text, event
        if isinstance(event, Text):
            text += event.text
    raise AssertionError("no Done")


def question(text: str) -> ChatPrompt:
    return ChatPrompt([Message("system", RULES), Message("user", text)])


def assert_good(path: Path, answers: list[Done]) -> None:
    """Hold answers against a plain loop: a wrong fork shows as misses of several logits."""
    loop = PlainLoop(path)
    for done in answers:
        prompt, answer = (
            done.context[: done.prompt_eval_count],
            done.context[done.prompt_eval_count :],
        )
        assert max(loop.misses(prompt, answer)) < 0.2
    loop.close()


async def test_a_conversation_is_read_once(smollm2_f16: Path) -> None:
    messages = [Message("user", "Tell me about the sea.")]
    answers = []
    async with running(smollm2_f16) as runner:
        for turn in range(3):
            text, done = await ask(runner, ChatPrompt(list(messages)))
            answers.append(done)
            if turn:
                seen = len(answers[-2].context)
                assert seen - 1 <= done.cached < done.prompt_eval_count
            messages += [Message("assistant", text), Message("user", "Go on.")]
    assert_good(smollm2_f16, answers)


def test_the_next_turn_of_a_conversation_copies_nothing(
    smollm2_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(smollm2_f16, parallel=2, num_ctx=512)
    restored: list[int] = []
    monkeypatch.setattr(
        type(steps.context), "restore", lambda context, sequence, *_: restored.append(sequence)
    )
    text = "Once upon a time there was a little girl who lived in the woods. " * 8
    turn = steps.add(text, 8)
    steps.finish()
    for number in range(2, 5):
        turn = steps.add([*turn.tokens, *steps.model.tokenize("And then", special=False)], 8)
        steps.finish()
        assert turn.cache.reused >= 100 + 8 * number
    assert (steps.generator.stored_bytes, restored) == (0, [])
    steps.context.close()


async def test_simultaneous_requests_share_the_prefix_that_one_of_them_reads(
    smollm2_f16: Path,
) -> None:
    names = ("rain", "wind", "sand", "fish", "boats", "nets")
    async with running(smollm2_f16) as runner:
        asked = (ask(runner, question(f"What about {name}?")) for name in names)
        answers = [done for _, done in await asyncio.gather(*asked)]
    first, *others = answers
    assert first.cached == 0
    assert all(done.cached > 100 for done in others)
    assert all(done.cached < done.prompt_eval_count for done in answers)
    assert_good(smollm2_f16, answers)


async def test_a_prompt_asked_again_costs_one_token(smollm2_f16: Path) -> None:
    async with running(smollm2_f16) as runner:
        first, before = await ask(runner, question("Why?"))
        second, after = await ask(runner, question("Why?"))
    assert after.cached == after.prompt_eval_count - 1
    assert first == second
    assert before.prompt_eval_count == after.prompt_eval_count


async def test_tokens_that_a_cancelled_request_read_stay_cached(smollm2_f16: Path) -> None:
    async with running(smollm2_f16) as runner:
        events = runner.generate(question("Who?"), Options(temperature=0))
        async with aclosing(events):
            await anext(events)
        _, done = await ask(runner, question("Who?"))
    assert done.cached == done.prompt_eval_count - 1


async def test_idle_sequences_move_to_host_memory_and_back(smollm2_f16: Path) -> None:
    """Conversations of over 600 tokens each: together more than may stay idle in the KV cache."""
    stories = [
        RawPrompt(f"Story {n}: " + f"the {n} ships sailed on and on. " * 60) for n in range(4)
    ]
    async with running(smollm2_f16, num_ctx=1024) as runner:
        for story in stories:
            await ask(runner, story)
        answers = [(await ask(runner, story))[1] for story in stories]
    assert all(done.cached == done.prompt_eval_count - 1 for done in answers)
    assert_good(smollm2_f16, answers[:2])


def test_the_cells_are_clear_for_the_next_request(
    smollm2_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(smollm2_f16, parallel=2)
    forgotten: list[int] = []
    forget = type(steps.context).forget
    monkeypatch.setattr(
        type(steps.context),
        "forget",
        lambda context, sequence: (forgotten.append(sequence), forget(context, sequence))[1],
    )
    steps.run("Bees")
    assert (forgotten[-1], steps.cells()) == (-1, 0)
    forgotten.clear()
    steps.run("Bees", steps=1)
    assert -1 not in forgotten
    steps.context.close()


def test_sequences_copied_while_idle_are_evicted_at_once(smollm2_f16: Path) -> None:
    """A prompt that has nothing in common is not slowed down by cells of those before it."""
    steps = Steps(smollm2_f16, parallel=2)
    first = "The ships sailed on and on, as they had done for years. " * 8
    steps.run(first)
    assert steps.cells() > 100
    assert steps.generator.rest()
    assert not steps.generator.rest()
    steps.run("Bees", steps=1)
    assert steps.cells() < 20
    steps.run("Bees", steps=1000)
    again = steps.run(first)
    assert again.cache.reused == len(again.prompt) - 1
    steps.context.close()


def test_rows_of_a_long_job_are_evicted_as_they_end(
    smollm2_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts are read in every step, and several sequences end in each."""
    fix_chunk(monkeypatch, 300)
    monkeypatch.setattr(run_queue, "MAX_UNTRIMMED_STEPS", 1)
    steps = Steps(smollm2_f16, parallel=8)
    for number in range(48):
        steps.add(f"{number}: " + f"the {number} ships sailed on. " * 5, predict=1, stream=False)
    most = 0
    while steps.generator.busy:
        steps.generator.step()
        if len(steps.generator.waiting) < 30:
            most = max(most, steps.cells())
    # Sequences that run or have just ended have some 40 cells each.
    assert 0 < most < 900
    steps.context.close()


def test_a_long_sequence_is_copied_in_parts_between_steps(
    smollm2_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first token waits for the copy of one part at most."""
    monkeypatch.setattr(run_queue, "TRIM_SECONDS", 0.0)
    monkeypatch.setattr(saved_state, "PART", 32)
    steps = Steps(smollm2_f16, parallel=3)
    text = "The ships sailed on and on, as they had done for years. " * 12
    for name in ("Bees", "Cats"):
        steps.add(f"{name} like", 80)
    first = steps.add(text, 2)
    while not first.over:
        steps.generator.step()
    copied: list[int] = []
    save_part = saved_state.save_part

    def counted(*place: Any) -> Any:
        copied[-1] += 1
        return save_part(*place)

    monkeypatch.setattr(saved_state, "save_part", counted)
    steps.add("Dogs like", 4)
    for _ in range(20):
        copied.append(0)
        steps.generator.step()
    assert max(copied) == 1
    assert sum(copied) > 4
    # Only the streams have cells, and the sequence comes back from host memory.
    assert steps.cells() < 150
    again = steps.add(text, 2)
    steps.finish()
    assert again.cache.reused == len(again.prompt) - 1
    steps.context.close()


def test_only_so_many_finished_sequences_are_kept(
    smollm2_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix_store, "MAX_PREFIXES", 3)
    steps = Steps(smollm2_f16, parallel=2)
    texts = [f"{number}: " + f"{number} ships. " * 20 for number in range(6)]
    for text in texts:
        steps.run(text)
        steps.generator.rest()
    # The youngest are known, the others are read again.
    assert [steps.run(text).cache.reused > 50 for text in reversed(texts)] == [True] * 3 + [
        False
    ] * 3
    steps.context.close()


def test_prompts_of_streams_are_read_before_those_of_whole_answers(
    smollm2_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix_chunk(monkeypatch, 80)
    steps = Steps(smollm2_f16, parallel=4)
    rows = [steps.add(f"{n}: " + f"{n} ships. " * 50, stream=False) for n in range(3)]
    stream = steps.add("Bees like")
    steps.generator.step()
    assert stream.generated == 1
    assert [row.cache.cached for row in rows] == [0, 0, 0]
    # They are read nevertheless.
    steps.generator.step()
    assert rows[0].cache.cached >= 20
    steps.context.close()


def test_whole_answers_pause_for_the_first_token_of_a_stream(smollm2_f16: Path) -> None:
    steps = Steps(smollm2_f16, parallel=4)
    rows = [steps.add(text, 99, stream=False) for text in ("Bees like", "Cats like")]
    steps.generator.step()
    first = steps.add("Dogs like", 99)
    steps.generator.step()
    assert [s.generated for s in (*rows, first)] == [1, 1, 1]
    # Not twice in a row, however many arrive.
    second = steps.add("Birds like", 99)
    steps.generator.step()
    assert [s.generated for s in (*rows, first, second)] == [2, 2, 2, 1]
    steps.context.close()


async def test_a_shift_does_not_move_shared_cells(smollm2_f16: Path) -> None:
    """Two sequences with one prefix fill their context; the cells they share must not move."""
    prompts = [RawPrompt("one two three four five six. " * 12 + end) for end in ("Now", "Then")]
    options = Options(temperature=0, num_predict=120, num_ctx=128)
    async with running(smollm2_f16, num_ctx=128) as runner:

        async def last(prompt: RawPrompt) -> Done:
            async for event in runner.generate(prompt, options):
                if isinstance(event, Done):
                    return event
            raise AssertionError("no Done")

        ends = await asyncio.gather(*(last(prompt) for prompt in prompts))
        assert all(done.eval_count == 120 for done in ends)
        _, done = await ask(runner, RawPrompt("one two three four five six. " * 12 + "Now"))
    assert_good(smollm2_f16, [done])
