"""Long texts are embedded in parts: steps are bounded, short texts do not wait, vectors agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from interruptions import requests_all_the_time
from numpy.typing import NDArray

from jupyter_ollama.engine.embed_job import EmbedJob
from jupyter_ollama.engine.embed_lane import Lane, can_split
from jupyter_ollama.engine.embedder import INTERRUPTIONS, Embedder
from jupyter_ollama.engine.events import Embedded, Event, Failed
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.preemption import Preemption
from jupyter_ollama.engine.protocol import Embed, LoadSpec
from jupyter_ollama.engine.step_costs import StepCosts

LONGEST = 512
LEAST = 8
"""Tokens of a step that has no time: the least that is decoded."""
LONG = "the river runs past the garden to the sea " * 18


@pytest.fixture(scope="module")
def loaded(smollm2: Path) -> ModelLoader:
    return ModelLoader(LoadSpec(model=str(smollm2), num_ctx=LONGEST, num_batch=64))


class Steps:
    """An embedder whose steps have no time. ``sizes`` has the tokens of each batch."""

    def __init__(self, loaded: ModelLoader, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.events: list[Event] = []
        self.rows: dict[int, NDArray[np.float32]] = {}
        self.seconds = 0.0
        context = loaded.embedding_context(LONGEST)
        assert can_split(context, is_causal=loaded.plan.is_causal)
        self.preemption = Preemption()
        self.interrupted = 0
        self.embedder = Embedder(
            loaded.model, context, LONGEST, self, splits=True,
            seconds=lambda: self.seconds,
            preemption=self.preemption,
            can_start=lambda: True,
        )  # fmt: skip
        run = Lane.run

        def watched(lane: Lane, threads: int) -> int:
            self.sizes.append(lane.batch.size)
            code = run(lane, threads)
            self.interrupted += lane.is_interrupted
            return code

        monkeypatch.setattr(Lane, "run", watched)

    def event(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Embedded):
            rows = np.frombuffer(event.rows, np.float32)
            self.rows[event.request] = rows.reshape(event.count, event.size)

    def add(self, request: int, *texts: str) -> None:
        self.embedder.add(EmbedJob(Embed(request, list(texts), LONGEST)))

    def finish(self) -> None:
        while self.embedder.busy:
            self.embedder.step()

    def alone(self, text: str) -> NDArray[np.float32]:
        """Return the vector of a text that is decoded with nothing beside it."""
        self.seconds = 1e6
        self.add(99, text)
        self.finish()
        self.seconds = 0.0
        return self.rows.pop(99)[0]


@pytest.fixture
def steps(loaded: ModelLoader, monkeypatch: pytest.MonkeyPatch) -> Steps:
    return Steps(loaded, monkeypatch)


def test_no_step_is_longer_than_its_budget(steps: Steps) -> None:
    steps.add(1, LONG)
    steps.finish()
    count = steps.events[-1].prompt_eval_count
    assert 128 < count < 192
    assert steps.sizes == [LEAST] * (count // LEAST) + [count % LEAST] * (count % LEAST > 0)
    steps.sizes.clear()
    steps.seconds = 1e6
    steps.add(2, LONG)
    steps.finish()
    assert steps.sizes == [64, 64, count - 128], "num_batch at most"


def test_a_text_has_the_same_vector_in_parts_as_in_one_batch(
    smollm2_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = ModelLoader(LoadSpec(model=str(smollm2_f16), num_ctx=LONGEST, num_batch=LONGEST))
    steps = Steps(loaded, monkeypatch)
    texts = [LONG, "short", LONG + "and back", "other words"]
    alone = [steps.alone(text) for text in texts]
    assert steps.sizes[0] > 128
    steps.add(1, *texts)
    steps.finish()
    likeness = steps.rows[1] @ np.stack(alone).T
    assert likeness.diagonal().min() > 0.9999
    assert likeness[0, 2] < 0.999


@pytest.mark.parametrize("accounts", [1, 2, 5])
def test_interrupted_batches_run_again(
    smollm2_f16: Path, monkeypatch: pytest.MonkeyPatch, accounts: int
) -> None:
    """Two accounts interrupt a batch once each, however many streams arrive; no text is lost."""
    loaded = ModelLoader(LoadSpec(model=str(smollm2_f16), num_ctx=LONGEST, num_batch=64))
    steps = Steps(loaded, monkeypatch)
    texts = [LONG, "short", LONG + "and back", "other words"]
    alone = [steps.alone(text) for text in texts]
    monkeypatch.setattr(StepCosts, "expected", lambda costs, contents: 1000.0)
    monkeypatch.setattr(steps, "seconds", 1e6)
    steps.sizes.clear()
    steps.add(1, *texts)
    with requests_all_the_time(steps.preemption, accounts):
        steps.finish()
    times = min(accounts, INTERRUPTIONS)
    assert 4 * times < steps.interrupted <= len(steps.sizes) * times // (times + 1)
    likeness = steps.rows[1] @ np.stack(alone).T
    assert likeness.diagonal().min() > 0.9999


def test_short_texts_do_not_wait_for_a_long_one(steps: Steps) -> None:
    steps.add(1, LONG)
    steps.embedder.step()
    for request in range(2, 6):
        steps.add(request, "ok")
        steps.embedder.step()
        assert list(steps.rows) == list(range(2, request + 1))
    assert max(steps.sizes) == LEAST
    steps.finish()
    assert list(steps.rows) == [2, 3, 4, 5, 1]


def test_long_texts_of_two_requests_end_in_turn(steps: Steps) -> None:
    steps.add(1, LONG, LONG, LONG)
    steps.add(2, LONG)
    steps.finish()
    assert list(steps.rows) == [2, 1]
    assert np.allclose(steps.rows[1][0], steps.rows[2][0], atol=1e-3)


def test_a_cancelled_text_frees_its_cells(steps: Steps) -> None:
    expected = steps.alone(LONG)
    steps.add(1, LONG)
    for _ in range(5):
        steps.embedder.step()
    steps.embedder.cancel(1)
    steps.add(2, LONG)
    steps.finish()
    assert list(steps.rows) == [2]
    assert float(steps.rows[2][0] @ expected) > 0.999
    steps.seconds = 1e6
    steps.add(3, "words " * 5000)
    steps.add(4, "ok")
    steps.finish()
    assert not any(isinstance(event, Failed) for event in steps.events)
    assert steps.events[-1].prompt_eval_count == LONGEST


def test_encoders_read_a_text_whole(minilm: Path) -> None:
    loaded = ModelLoader(LoadSpec(model=str(minilm), num_ctx=256))
    context = loaded.embedding_context(256)
    assert not loaded.plan.is_causal
    assert not can_split(context, is_causal=loaded.plan.is_causal)
    assert context.batch == 256
