"""A model's own head drafts for it: fewer steps, the same answers, and its memory is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drafting import Batches
from plain_head import PlainHead
from plain_loop import PlainLoop
from runners import running
from tiny_head import write_glm4moe, write_qwen35

from jupyter_ollama.engine import load_plan
from jupyter_ollama.engine.batch import Batch
from jupyter_ollama.engine.devices import Device
from jupyter_ollama.engine.events import Done
from jupyter_ollama.engine.llama_context import LlamaContext
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.memory_plan import PROCESS_BYTES
from jupyter_ollama.engine.mtp import can_draft
from jupyter_ollama.engine.mtp_drafter import KEPT, MtpDrafter
from jupyter_ollama.engine.protocol import LoadSpec, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.score import Continuation
from jupyter_ollama.engine.sequence import Sequence
from jupyter_ollama.layout.model_file import ModelFile
from jupyter_ollama.options import Options

SPEC = {"num_ctx": 256, "num_parallel": 4, "num_batch": 128}
MISS = 0.02
"""The error that rounding can cause in a near tie."""

Pairs = list[tuple[list[int], list[int]]]


@pytest.fixture(scope="module", params=[write_qwen35, write_glm4moe])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    write: Callable[[Path], Path] = request.param
    return write(tmp_path_factory.mktemp("head") / "model.gguf")


@pytest.fixture(scope="module")
def qwen35(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen35(tmp_path_factory.mktemp("head") / "qwen35.gguf")


@pytest.fixture
def batches(model: Path) -> Iterator[Batches]:
    batches = Batches(model, **SPEC)
    yield batches
    batches.context.close()


def prompt(seed: int, length: int = 40) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(3, 259, length)]


def ask(batches: Batches, request: int, tokens: list[int], count: int, **more: object) -> Sequence:
    """Queue a prompt without n-gram lookup."""
    sequence = batches.ask(request, tokens, count, **more)
    sequence.lookup = Continuation([])
    return sequence


def assert_agrees(model: Path, pairs: Pairs) -> None:
    loop = PlainLoop(model)
    misses = [miss for given, answer in pairs for miss in loop.misses(given, answer)]
    loop.close()
    assert max(misses) <= MISS


def test_fewer_steps_than_tokens_and_the_same_answer(batches: Batches, model: Path) -> None:
    ask(batches, 1, prompt(1), 100)
    batches.finish()
    answer = batches.answers[1]
    assert len(answer) > 60
    assert batches.steps < 0.6 * len(answer)
    assert_agrees(model, [(prompt(1), answer)])


def test_none_if_the_request_says_so(batches: Batches) -> None:
    ask(batches, 1, prompt(1), 30, draft_num_predict=0)
    batches.finish()
    assert batches.steps >= len(batches.answers[1])


def test_drafts_are_those_of_the_head(batches: Batches, model: Path) -> None:
    """Several streams at once, some of which rest for a while: by a plain use of the head."""
    drafter = batches.drafter
    sequences = [ask(batches, number, prompt(number), 60) for number in range(3)]
    drafted: dict[tuple[int, int], list[int]] = {}
    while batches.generator.busy:
        count = 4 if batches.steps % 7 else 0
        sequences[0].params = replace(sequences[0].params, draft_num_predict=count)
        batches.finish(1)
        for sequence, track in drafter._tracks.items():
            if track.drafts:
                drafted[sequence.params.request, track.start] = list(track.drafts)
    assert len(drafted) > 30
    head = PlainHead(model)
    for (number, start), drafts in drafted.items():
        misses = head.misses(sequences[number].tokens[:start], 40, drafts)
        assert max(misses) <= MISS
    head.close()


def test_streams_that_start_and_end_agree_as_well(batches: Batches, model: Path) -> None:
    asked = {1: prompt(1), 2: prompt(2), 3: prompt(3, 100)}
    for number, tokens in asked.items():
        ask(batches, number, tokens, 80)
    batches.finish(6)
    asked[4] = prompt(3, 100)[:90] + prompt(4)
    ask(batches, 4, asked[4], 40)
    batches.finish(4)
    batches.generator.cancel(2)
    asked[5] = prompt(2)
    ask(batches, 5, asked[5], 60)
    batches.finish()
    assert len(batches.answers[2]) < 80
    assert_agrees(model, [(asked[number], batches.answers[number]) for number in asked])
    assert not batches.drafter._tracks
    assert len(batches.drafter._slots) == 4


def test_the_kept_part_of_a_cancelled_answer_is_right(batches: Batches, model: Path) -> None:
    """Its last drafts may have been refused the moment before."""
    pairs: Pairs = []
    stepped_back = 0
    for number in range(0, 24, 2):
        given = prompt(100 + number)
        first = ask(batches, number, given, 60)
        batches.finish(4 + number)
        stepped_back += first.cache.slot in batches.context._stepped_back
        batches.generator.cancel(number)
        again = given + batches.answers[number] + prompt(number, 3)
        second = ask(batches, number + 1, again, 12)
        batches.finish()
        assert second.cache.reused >= len(again) - 4
        pairs += [(given, batches.answers[number]), (again, batches.answers[number + 1])]
    assert stepped_back > 2 or not batches.context.is_recurrent
    assert_agrees(model, pairs)


def test_drafts_go_on_after_a_rest(batches: Batches) -> None:
    """Few unread states are kept, and the head begins with the remaining ones."""
    sequence = ask(batches, 1, prompt(1), 200)
    drafter = batches.drafter
    assert isinstance(drafter, MtpDrafter)
    batches.finish(4)
    draft, drafter.draft = drafter.draft, lambda *_: None  # type: ignore[method-assign]
    batches.finish(KEPT + 20)
    assert len(drafter._unread[sequence]) == KEPT
    drafter.draft = draft  # type: ignore[method-assign]
    before, steps = len(sequence.tokens), batches.steps
    batches.finish(20)
    assert len(sequence.tokens) - before > 1.4 * (batches.steps - steps)


def test_a_state_that_was_stepped_back_is_forked_as_it_is(qwen35: Path) -> None:
    context = LlamaContext(
        LlamaModel(str(qwen35)),
        cells=256,
        sequences=4,
        batch=64,
        ubatch=64,
        threads=1,
        snapshots=4,
    )
    batch = Batch(64)

    def decode(tokens: list[int], position: int, sequence: int) -> np.ndarray:
        batch.clear()
        row = batch.add(tokens, position, sequence, outputs="last")
        assert context.decode(batch) == 0
        return context.logits(row).copy()

    tokens = prompt(1, 20)
    decode(tokens, 0, 0)
    decode([7], 20, 0)
    expected = decode([8], 21, 0)
    decode(tokens, 0, 1)
    decode([7, *prompt(2, 4)], 20, 1)
    context.cut(1, 21)
    context.fork(1, 2, 21)
    # Batches of different sizes are rounded differently, by 2e-4 on some processors.
    assert np.abs(decode([8], 21, 2) - expected).max() < 1e-3
    assert np.abs(decode([8], 21, 1) - expected).max() < 1e-3
    context.close()


async def test_the_memory_of_a_head_is_counted(qwen35: Path) -> None:
    async def answer(runner: RunnerClient) -> list[int]:
        options = Options(temperature=0, num_predict=40)
        events = runner.generate(RawPrompt("Why?"), options, return_context=True)
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Done):
                    return event.context
        raise AssertionError("no Done")

    async with running(qwen35, num_ctx=4096, num_parallel=1) as runner:
        with_head = runner.ready.size
        answers = await asyncio.gather(answer(runner), answer(runner))
    # A draft model that cannot draft leaves the model without any.
    async with running(qwen35, num_ctx=4096, num_parallel=1, draft=str(qwen35)) as runner:
        without = runner.ready.size
        assert await answer(runner) == answers[0] == answers[1]
    # The keys and values of one head in one layer.
    assert with_head - without > 4096 * 2 * 32 * 2


def test_a_head_that_does_not_fit_is_left_out(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    host = Device("CPU", 0, 2**40, is_cpu=True)
    spec = LoadSpec(model=str(model), num_ctx=4096, num_parallel=1)
    loaded = ModelLoader(spec)
    assert loaded.drafter()
    needs = -loaded.plan.left_of([host])[0].free
    small = replace(host, free=needs + PROCESS_BYTES + 2**12)
    monkeypatch.setattr(load_plan, "devices", lambda **_: [small])
    loaded = ModelLoader(spec)
    assert "without the head that drafts for it" in caplog.text
    assert loaded.drafter() is None
    context = loaded.generation_context()
    assert context.snapshots == 0
    assert not context.has_states
    context.close()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"nextn.hnorm", b"nextn.hnoon"),
        (b"qwen35", b"qwen99"),
        (b"nextn_predict_layers", b"nextn_predict_layerz"),
    ],
)
def test_a_head_that_llama_cpp_cannot_run_is_ignored(
    qwen35: Path, tmp_path: Path, old: bytes, new: bytes
) -> None:
    assert can_draft(ModelFile(qwen35).header)
    other = tmp_path / "other.gguf"
    other.write_bytes(qwen35.read_bytes().replace(old, new))
    assert not can_draft(ModelFile(other).header)
