"""Long prompts beside streams: read in the background, with the same answers, whatever happens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from plain_loop import PlainLoop
from steps import Steps

from jupyter_ollama.engine import background_prefill
from jupyter_ollama.engine.background_prefill import BackgroundPrefill, slice_seconds
from jupyter_ollama.engine.events import Event, Progress
from jupyter_ollama.engine.llama_model import LoadError
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.pausable_decode import PausableDecode
from jupyter_ollama.engine.prefill_context import PrefillContext
from jupyter_ollama.engine.progress import PromptProgress
from jupyter_ollama.engine.reading_order import TILE
from jupyter_ollama.engine.sequence import Sequence
from jupyter_ollama.engine.step_costs import StepContents

SLICE = 0.1


def prompt(length: int, number: int) -> list[int]:
    """Return tokens that no other prompt begins with."""
    return random.Random(number).choices(range(100, 30_000), k=length)


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Read prompts of more than a tile in short slices; return the tokens of the parts."""
    parts: list[int] = []
    start = PausableDecode.start

    def record(decode: PausableDecode, batch: object) -> None:
        parts.append(batch.size)  # type: ignore[attr-defined]
        start(decode, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(PausableDecode, "start", record)
    monkeypatch.setattr(background_prefill, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(background_prefill, "WORTH_TOKENS", TILE)
    monkeypatch.setattr("jupyter_ollama.engine.generator.slice_seconds", lambda _: SLICE)
    return parts


@pytest.fixture
def steps(smollm2_f16: Path) -> Iterator[Steps]:
    steps = Steps(smollm2_f16, parallel=6, num_ctx=1024, has_background=True)
    yield steps
    steps.generator.free()
    steps.context.close()


def check(path: Path, *sequences: Sequence) -> None:
    """Compare answers with a loop that reads one prompt at a time."""
    loop = PlainLoop(path)
    for sequence in sequences:
        answer = sequence.tokens[len(sequence.prompt) :]
        assert answer
        assert max(loop.misses(sequence.prompt, answer)) < 0.2
    loop.close()


@pytest.mark.parametrize("model", ["smollm2_f16", "gemma3_f16"])
def test_a_stream_goes_on_while_a_long_prompt_is_read(
    model: str, parts: list[int], request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(model)
    steps = Steps(path, parallel=4, num_ctx=2048, has_background=True)
    stream = steps.add("The bees", 900)
    steps.finish(3)
    long = steps.add(prompt(900, 1), 8, request=2)
    steps.finish(2)
    before = stream.generated
    while not long.generated:
        steps.finish(1)
    assert stream.generated - before > len(parts) > 2
    # Only its last token was read in a step.
    assert sum(parts) == 899
    while not long.over:
        steps.finish(1)
    check(path, long)
    steps.generator.free()
    steps.context.close()


def test_a_single_prompt_is_read_in_steps(steps: Steps, parts: list[int]) -> None:
    steps.add(prompt(300, 1), 4, account=1)
    steps.finish()
    assert parts == []


def test_the_tokens_in_the_cells_are_not_read_again(steps: Steps, parts: list[int]) -> None:
    opening = prompt(400, 1)
    steps.add(opening, 4)
    steps.finish()
    steps.add("The bees", 400, request=2)
    steps.finish(3)
    following = steps.add(opening + prompt(200, 2), 8, request=3)
    while not following.over:
        steps.finish(1)
    assert sum(parts) < 220
    check(Path(steps.loaded.spec.model), following)


def test_a_cancelled_prompt_leaves_the_context_to_the_next(steps: Steps, parts: list[int]) -> None:
    steps.add("The bees", 900)
    steps.finish(3)
    steps.add(prompt(600, 1), 8, request=2)
    steps.finish(2)
    assert parts
    steps.generator.cancel(2)
    following = steps.add(prompt(500, 2), 8, request=3)
    while not following.over:
        steps.finish(1)
    assert sum(parts[1:]) == 499
    check(Path(steps.loaded.spec.model), following)


def test_the_steps_of_streams_do_not_attend_to_a_prompt_that_is_being_read(
    steps: Steps, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_prefill, "COPIED_TOKENS", 256)
    steps.add("The bees", 900)
    steps.finish(3)
    before = steps.cells()
    long = steps.add(prompt(700, 1), 8, request=2)
    while not long.cache.cached:
        assert steps.cells() < before + 100
        steps.finish(1)
    assert steps.generator._background
    assert steps.generator._background.tokens_read(long) == sum(parts) == 699
    assert long.cache.cached == 256  # the copies are divided among several steps, too
    while not long.over:
        steps.finish(1)
    check(Path(steps.loaded.spec.model), long)


def test_what_was_read_of_a_cancelled_prompt_is_kept(steps: Steps, parts: list[int]) -> None:
    steps.add("The bees", 900)
    steps.finish(3)
    long = steps.add(prompt(900, 1), 8, request=2)
    background = steps.generator._background
    assert background
    while len(parts) < 3 or not (background._side and background._side.is_read):
        steps.finish(1)
    read = sum(parts[:3])
    assert long.cache.cached == 0
    steps.generator.cancel(2)
    parts.clear()
    again = steps.add(prompt(900, 1), 8, request=3)
    while not again.over:
        steps.finish(1)
    assert sum(parts) <= 899 - read
    check(Path(steps.loaded.spec.model), again)


def test_what_was_read_before_a_failure_is_kept(
    steps: Steps, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_over = PrefillContext.take_over

    def fail_later(side: PrefillContext) -> StepContents | None:
        part = take_over(side) if len(parts) < 3 else None
        side.part = None
        return part

    monkeypatch.setattr(PrefillContext, "take_over", fail_later)
    steps.add("The bees", 900)
    steps.finish(3)
    long = steps.add(prompt(900, 1), 8, request=2)
    while not long.cache.cached:
        steps.finish(1)
    assert long.cache.cached >= sum(parts[:2])
    while not long.over:
        steps.finish(1)
    assert len(parts) == 3
    check(Path(steps.loaded.spec.model), long)


def test_the_progress_of_a_prompt_counts_what_was_read(
    steps: Steps, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_ollama.engine.progress.INTERVAL", 0.0)
    events: list[Event] = []
    steps.add("The bees", 900)
    steps.finish(3)
    long = steps.add(prompt(900, 1), 8, request=2, progress=PromptProgress(2, events.append))
    while not long.generated:
        steps.finish(1)
    completed = {event.completed for event in events if isinstance(event, Progress)}
    assert {parts[0], parts[0] + parts[1]} <= completed


def test_prompts_with_a_common_beginning_read_it_once(steps: Steps, parts: list[int]) -> None:
    steps.add("The bees", 900)
    steps.finish(3)
    opening = prompt(300, 1)
    asked = [
        steps.add(opening + prompt(100, number), 4, request=number, account=account)
        for number, account in ((2, 0), (3, 0))
    ]
    while not all(one.over for one in asked):
        steps.finish(1)
    assert sum(parts) < 550
    check(Path(steps.loaded.spec.model), *asked)


def test_a_put_back_sequence_is_read_again(smollm2_f16: Path, parts: list[int]) -> None:
    steps = Steps(smollm2_f16, parallel=2, num_ctx=512, has_background=True)
    stream = steps.add("The bees", 300)
    steps.finish(3)
    long = steps.add(prompt(400, 1), 8, request=2)
    while not parts:
        steps.finish(1)
    queue = steps.generator._queue
    queue.put_back(long)
    while not long.over:
        steps.finish(1)
    assert stream.generated
    check(smollm2_f16, long)
    steps.generator.free()
    steps.context.close()


def test_a_put_back_sequence_may_be_cancelled(steps: Steps, parts: list[int]) -> None:
    stream = steps.add("The bees", 300)
    steps.finish(3)
    long = steps.add(prompt(600, 1), 8, request=2)
    while len(parts) < 2:
        steps.finish(1)
    steps.generator._queue.put_back(long)
    steps.generator.cancel(2)
    steps.finish()
    check(Path(steps.loaded.spec.model), stream)


def test_where_cells_are_missing_the_prompt_is_read_in_steps(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(steps.context), "add_part", lambda *_: False)
    steps.add("The bees", 200)
    steps.finish(3)
    long = steps.add(prompt(300, 1), 8, request=2)
    while not long.over:
        steps.finish(1)
    check(Path(steps.loaded.spec.model), long)


def test_without_memory_for_the_context_the_prompt_is_read_in_steps(
    steps: Steps, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(loader: ModelLoader, cells: int) -> None:
        raise LoadError("no memory")

    monkeypatch.setattr(ModelLoader, "prefill_context", refuse)
    steps = Steps(Path(steps.loaded.spec.model), parallel=4, num_ctx=1024, has_background=True)
    steps.add("The bees", 200)
    steps.finish(3)
    long = steps.add(prompt(300, 1), 8, request=2)
    while not long.over:
        steps.finish(1)
    assert parts == []
    check(Path(steps.loaded.spec.model), long)


def test_a_larger_context_of_the_batch_loop_continues(steps: Steps, parts: list[int]) -> None:
    steps.add("The bees", 400)
    steps.finish(3)
    long = steps.add(prompt(600, 1), 8, request=2)
    while not parts:
        steps.finish(1)
    steps.generator.replace_context(lambda: steps.loaded.generation_context(2048))
    steps.context = steps.generator.context
    while not long.over:
        steps.finish(1)
    check(Path(steps.loaded.spec.model), long)


def test_each_account_and_each_kind_of_answer_gets_parts(steps: Steps) -> None:
    steps.add("The bees", 900)
    steps.finish(3)
    for number in range(2, 5):
        steps.add(prompt(400, number), 1, request=number, account=1)
    steps.add(prompt(130, 5), 1, request=5, account=2)
    steps.add(prompt(130, 6), 1, request=6, account=3, stream=False)
    order: list[int] = []
    while len(order) < 5:
        steps.finish(1)
        order += [number for number in steps.answers if number > 1 and number not in order]
    assert order[0] == 5, "a question waited for the long prompts of another account"
    assert order.index(6) < 4, "a whole answer waited for all streams"


@pytest.mark.parametrize("seed", range(2))
def test_any_mix_of_requests_gets_the_same_answers(smollm2_f16: Path, seed: int) -> None:
    chance = random.Random(seed)
    # The cells are too few for all of them.
    steps = Steps(smollm2_f16, parallel=4, num_ctx=384, has_background=True)
    openings = [prompt(150, 1), prompt(90, 2), []]
    asked: list[Sequence] = []
    cancelled: set[int] = set()
    for number in range(10):
        tokens = chance.choice(openings) + prompt(chance.randrange(5, 200), 100 + number)
        stream, account = chance.random() < 0.7, chance.randrange(3)
        count = chance.randrange(1, 40)
        asked.append(steps.add(tokens, count, request=number, stream=stream, account=account))
        steps.finish(chance.randrange(12))
        if chance.random() < 0.2:
            number = chance.randrange(len(asked))
            cancelled.add(number)
            steps.generator.cancel(number)
    steps.finish()
    check(smollm2_f16, *(one for one in asked if one.params.request not in cancelled))
    steps.generator.free()
    steps.context.close()


def test_streams_get_a_part_of_the_time_even_where_their_steps_are_long() -> None:
    assert slice_seconds(0.02) == pytest.approx(0.08)
    assert slice_seconds(0.1) == pytest.approx(0.07)
    for step in (0.001, 0.05, 0.15, 0.5):
        assert step / 2 <= slice_seconds(step) <= max(4 * step, 0.02)


def test_an_unused_context_is_freed(steps: Steps, parts: list[int]) -> None:
    steps.add("The bees", 200)
    steps.finish(3)
    steps.add(prompt(300, 1), 4, request=2)
    steps.finish()
    assert parts
    held = steps.loaded.log.host_bytes
    steps.generator.free()
    assert steps.loaded.log.host_bytes < held
    assert isinstance(steps.generator._background, BackgroundPrefill)
