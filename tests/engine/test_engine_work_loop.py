"""The loop of the main thread: a stream that arrives during a step does not wait for embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from steps import Steps

from jupyter_ollama.engine.embed_job import EmbedJob
from jupyter_ollama.engine.embedder import Embedder
from jupyter_ollama.engine.generator import Generator
from jupyter_ollama.engine.output import Output
from jupyter_ollama.engine.preemption import Preemption
from jupyter_ollama.engine.protocol import Embed
from jupyter_ollama.engine.work_loop import WorkLoop

LONG = "The ships sailed on and on, as they had done for years. " * 6


@pytest.fixture
def steps(smollm2: Path) -> Any:
    steps = Steps(smollm2, 4)
    yield steps
    steps.context.close()


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were made, in their order."""
    done: list[str] = []
    for kind, name in ((Generator, "answers"), (Embedder, "embeddings")):
        step = kind.step

        def watched(part: Any, step: Any = step, name: str = name) -> None:
            done.append(name)
            step(part)

        monkeypatch.setattr(kind, "step", watched)
    return done


@pytest.fixture
def loop(steps: Steps) -> WorkLoop:
    """A loop with an answer and texts to embed under way."""
    loop = WorkLoop(Preemption(), lambda: None)
    loop.generator = steps.generator
    output = Output(steps.loaded.model, lambda events: None)
    context = steps.loaded.embedding_context(256)
    loop.embedder = Embedder(steps.loaded.model, context, 256, output, splits=True)
    loop.embedder.add(EmbedJob(Embed(1, [LONG] * 8, 256)))
    steps.add(LONG, 200)
    loop.run_once()
    return loop


def test_embeddings_and_answers_take_turns(loop: WorkLoop, done: list[str]) -> None:
    for _ in range(3):
        loop.run_once()
    assert done[-6:] == ["answers", "embeddings"] * 3


def test_a_stream_that_arrives_during_a_step_starts_before_the_next_texts(
    steps: Steps, loop: WorkLoop, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loop.generator
    arriving = [lambda: steps.add("Bees like", 4, request=7)]
    decode = loop.generator.context.decode

    def decode_while_a_request_arrives(batch: Any) -> int:
        if arriving:
            loop.hand_over(arriving.pop(), waits=2)
        return decode(batch)

    monkeypatch.setattr(loop.generator.context, "decode", decode_while_a_request_arrives)
    done.clear()
    loop.run_once()
    assert done == ["answers", "answers", "embeddings"]
    assert [s.generated > 0 for s in loop.generator.running] == [True, True]


def test_streams_that_arrive_all_the_time_do_not_stop_embeddings(
    steps: Steps, loop: WorkLoop, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loop.generator
    decode = loop.generator.context.decode

    def decode_while_a_request_arrives(batch: Any) -> int:
        loop.hand_over(lambda: steps.add("Bees like", 1), waits=2)
        return decode(batch)

    monkeypatch.setattr(loop.generator.context, "decode", decode_while_a_request_arrives)
    for _ in range(4):
        loop.run_once()
    assert done.count("embeddings") >= 4
