"""A draft model: fewer steps of the model, the same answers, and only where it pays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from drafting import Batches
from plain_loop import PlainLoop
from runners import running
from tiny_recurrent import write_recurrent

from jupyter_ollama.engine import load_plan
from jupyter_ollama.engine.devices import Device
from jupyter_ollama.engine.drafter import NEAR
from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.memory_plan import PROCESS_BYTES
from jupyter_ollama.engine.protocol import LoadSpec, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.runner_failures import LoadRefused
from jupyter_ollama.engine.sequence import Sequence
from jupyter_ollama.engine.step_costs import WORTH_DRAFTING, DraftCosts, StepContents, StepCosts
from jupyter_ollama.library.library import Library
from jupyter_ollama.options import Options

STORY = "Once upon a time there was a fox who lived in the deep forest and"
RAIN = "Rain forms when water from the sea and the lakes becomes warm, rises and"
LONG = "The garden behind the old house was full of flowers of every colour. " * 12


@pytest.fixture(scope="module")
def batches(smollm2_f16: Path, smollm2_q4_0: Path) -> Iterator[Batches]:
    spec = {"num_ctx": 256, "num_parallel": 4, "num_batch": 128}
    batches = Batches(smollm2_f16, draft=str(smollm2_q4_0), **spec)
    yield batches
    batches.context.close()


@pytest.fixture(scope="module")
def plain(smollm2_f16: Path) -> Iterator[PlainLoop]:
    loop = PlainLoop(smollm2_f16)
    yield loop
    loop.close()


def assert_agrees(loop: PlainLoop, pairs: list[tuple[list[int], list[int]]]) -> None:
    misses = [miss for prompt, answer in pairs for miss in loop.misses(prompt, answer)]
    assert len(misses) > 30
    assert max(misses) <= 0.1
    assert sum(miss > 0 for miss in misses) <= max(2, 0.03 * len(misses))


def without_lookup(sequence: Sequence, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequence.lookup, "draft", lambda tokens, price: [])


def test_fewer_steps_than_tokens_and_the_same_answer(
    batches: Batches, plain: PlainLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = batches.ask(1, STORY, 64)
    without_lookup(sequence, monkeypatch)
    prompt, before = list(sequence.tokens), batches.steps
    batches.finish()
    answer = batches.answers[1]
    assert len(answer) == 64
    assert batches.steps - before < 40
    assert_agrees(plain, [(prompt, answer)])


def test_none_if_the_request_says_so(batches: Batches, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = batches.ask(2, RAIN, 24, draft_num_predict=0)
    without_lookup(sequence, monkeypatch)
    before = batches.steps
    batches.finish()
    assert batches.steps - before >= len(batches.answers[2])


def test_streams_that_start_and_end_agree_as_well(batches: Batches, plain: PlainLoop) -> None:
    first = [batches.ask(10, STORY, 40), batches.ask(11, RAIN, 80)]
    prompts = {s.params.request: list(s.tokens) for s in first}
    batches.finish(4)
    late = [batches.ask(12, LONG + STORY, 24), batches.ask(13, LONG + RAIN, 24)]
    prompts |= {s.params.request: list(s.tokens) for s in late}
    batches.finish(8)
    batches.generator.cancel(11)
    again = batches.ask(14, RAIN, 24)
    prompts[14] = list(again.tokens)
    batches.finish()
    assert len(batches.answers[11]) < 80
    assert_agrees(plain, [(prompts[n], batches.answers[n]) for n in prompts])
    assert not batches.drafter._tracks
    assert len(batches.drafter._slots) == 4


def test_a_context_shift_is_followed(
    batches: Batches, plain: PlainLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = batches.ask(20, LONG, 150)
    without_lookup(sequence, monkeypatch)
    prompt = list(sequence.tokens)
    others = batches.ask(21, STORY, 100)
    beside = list(others.tokens)
    limit = 256 - len(prompt)
    assert 0 < limit < 140
    before = batches.steps
    batches.finish()
    assert len(batches.answers[20]) == 150
    assert sequence.cache.exact < len(prompt)  # it was shifted
    assert batches.steps - before < 120
    # Until the shift the plain loop has the same context.
    assert_agrees(plain, [(prompt, batches.answers[20][:limit]), (beside, batches.answers[21])])


def test_prompts_are_read_in_chunks(batches: Batches) -> None:
    sequence = batches.ask(30, LONG, 40)
    drafter = batches.drafter
    read = []
    while batches.generator.busy:
        batches.finish(1)
        track = drafter._tracks.get(sequence)
        read.append(len(track.held) if track else 0)
    grown = [after - before for before, after in pairwise(read)]
    # 8 tokens are the least of a chunk, which Eager reads at a second each.
    assert 8 in grown
    assert max(grown) <= 8 + NEAR + 5


def test_the_draft_model_is_left_out_where_it_does_not_pay() -> None:
    costs = DraftCosts(step=0.010, read=0.001)
    # A token of the model takes 100 ms, one more in a step a tenth of it.
    count, speed = costs.length(0.8, 1, worth=0.1, price=0.1, limit=4)
    assert (count, round(speed, 2)) == (4, 1.87)
    assert costs.length(0.2, 1, worth=0.1, price=0.1, limit=4) == (0, WORTH_DRAFTING)
    assert costs.length(0.6, 1, worth=0.1, price=0.1, limit=4)[0] == 2
    assert costs.length(0.9, 1, worth=0.012, price=0.1, limit=4)[0] == 0  # as slow as the model
    assert costs.length(0.9, 1, worth=0.0, price=0.1, limit=4)[0] == 0  # nothing is known yet
    # Four streams share a step.
    assert costs.length(0.9, 4, worth=0.012, price=0.1, limit=4)[0] == 4


def test_no_draft_is_taken_for_free() -> None:
    costs = StepCosts(0.004)
    assert costs.safe_price(1) == 1  # nothing is known of plain steps
    for _ in range(60):
        costs.record(0.02, StepContents(streams=1))
        costs.record(0.02, StepContents(streams=1, drafted=4))
    assert costs.price(1) < 0.01
    assert costs.safe_price(1) == pytest.approx(0.2)


def test_a_draft_model_that_became_slow_is_tried_again_later() -> None:
    costs = DraftCosts(step=0.010, read=0.001)
    for _ in range(20):
        costs.record_step(0.2, 1)
    assert costs.length(0.9, 1, worth=0.1, price=0.1, limit=4)[0] == 0
    for _ in range(500):
        costs.relax(1)
    assert costs.length(0.9, 1, worth=0.1, price=0.1, limit=4)[0] > 0


def test_a_prompt_is_read_once_the_answer_is_long_enough_for_it() -> None:
    costs = DraftCosts(step=0.010, read=0.001)
    assert not costs.affords(1000, waited=10, saving=0.05)
    assert costs.affords(1000, waited=20, saving=0.05)
    for _ in range(30):
        costs.record_read(0.1, 1000)
    assert costs.affords(1000, waited=10, saving=0.05)


async def ask(runner: RunnerClient, prompt: str, count: int) -> tuple[list[int], list[int]]:
    options = Options(temperature=0, num_predict=count)
    events = runner.generate(RawPrompt(prompt), options, return_context=True)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Done):
                tokens = event.context
                return tokens[: event.prompt_eval_count], tokens[event.prompt_eval_count :]
    raise AssertionError("no Done")


async def test_a_runner_with_a_draft_model(
    smollm2_f16: Path, smollm2_q4_0: Path, plain: PlainLoop
) -> None:
    async with running(smollm2_f16, num_ctx=512, num_parallel=2) as runner:
        alone = runner.ready.size
    async with running(smollm2_f16, draft=str(smollm2_q4_0), num_ctx=512, num_parallel=2) as runner:
        size = runner.ready.size
        pairs = await asyncio.gather(ask(runner, STORY, 48), ask(runner, RAIN, 48))
    assert_agrees(plain, list(pairs))
    # The weights, and 22.5 KiB of cache for each of 1024 tokens.
    least = smollm2_q4_0.stat().st_size * 0.95 + 1024 * 30 * 3 * 128 * 2
    assert least < size - alone < least + 128 * 2**20


def test_a_draft_model_that_does_not_fit_is_left_out(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host = Device("CPU", 0, 2**40, is_cpu=True)
    spec = LoadSpec(model=str(smollm2), num_ctx=64, num_parallel=1)
    needs = -ModelLoader(spec).plan.left_of([host])[0].free
    small = replace(host, free=needs + PROCESS_BYTES + 2**26)
    monkeypatch.setattr(load_plan, "devices", lambda **_: [small])
    assert ModelLoader(msgspec.structs.replace(spec, draft=str(smollm2))).drafter() is None
    assert "without its draft model: model requires more system memory" in caplog.text


@pytest.mark.parametrize("kind", ["text", "recurrent"])
def test_models_that_cannot_draft_are_left_out(
    smollm2: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    draft = tmp_path / "draft.gguf"
    if kind == "text":
        draft.write_text("no GGUF")
    else:
        write_recurrent(draft)
    spec = LoadSpec(model=str(smollm2), draft=str(draft), num_ctx=64, num_parallel=1)
    assert ModelLoader(spec).drafter() is None
    assert "without its draft model" in caplog.text


async def test_another_vocabulary_is_refused(smollm2: Path, gemma3_library: Library) -> None:
    draft = gemma3_library.find("gemma3").model_path
    with pytest.raises(LoadRefused, match="the draft model does not have the model's vocabulary"):
        await RunnerClient.start(LoadSpec(model=str(smollm2), draft=str(draft), num_ctx=64), 60)
