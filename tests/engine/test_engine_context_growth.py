"""A longer context for running sequences, also where memory does not hold the former beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from plain_loop import PlainLoop
from steps import Steps

from jupyter_ollama.engine.llama_context import LlamaContext
from jupyter_ollama.engine.memory_plan import MemoryShortage
from jupyter_ollama.engine.sequence import Sequence


@pytest.fixture
def steps(smollm2_f16: Path) -> Steps:
    return Steps(smollm2_f16, parallel=4)


@pytest.fixture
def running(steps: Steps) -> Sequence:
    """A sequence in the middle of its answer."""
    sequence = steps.add("The ships sailed on and on, as they had done for years.", 24)
    steps.finish(8)
    return sequence


def finish(steps: Steps, sequence: Sequence) -> None:
    """Finish the answer and compare it with a plain loop."""
    steps.finish()
    assert sequence.generated == 24
    loop = PlainLoop(Path(steps.loaded.spec.model))
    assert max(loop.misses(sequence.prompt, sequence.tokens[len(sequence.prompt) :])) < 0.2
    loop.close()
    steps.generator.context.close()


def test_the_former_context_is_freed_first(
    steps: Steps, running: Sequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    close = LlamaContext.close

    def record(context: LlamaContext) -> None:
        order.append("freed")
        close(context)

    def make() -> LlamaContext:
        order.append("made")
        return steps.loaded.generation_context(1024)

    monkeypatch.setattr(LlamaContext, "close", record)
    steps.generator.replace_context(make, partial(steps.loaded.generation_context, 256))
    assert order == ["freed", "made"]
    assert steps.generator.context.cells >= 1024
    finish(steps, running)


def test_where_it_cannot_be_made_the_former_length_stays(steps: Steps, running: Sequence) -> None:
    def refuse() -> LlamaContext:
        raise MemoryShortage("system", 2, 1)

    cells = steps.context.cells
    with pytest.raises(MemoryShortage):
        steps.generator.replace_context(refuse, partial(steps.loaded.generation_context, 256))
    assert steps.generator.context.cells == cells
    finish(steps, running)


def test_a_runner_without_a_context_ends(steps: Steps, running: Sequence) -> None:
    def refuse() -> LlamaContext:
        raise MemoryShortage("system", 2, 1)

    # Another program has taken the memory of the former context.
    with pytest.raises(RuntimeError, match="the former context cannot be made again"):
        steps.generator.replace_context(refuse, refuse)


def test_without_memory_beside_the_former_nothing_changes(steps: Steps, running: Sequence) -> None:
    def refuse() -> LlamaContext:
        raise MemoryShortage("system", 2, 1)

    with pytest.raises(MemoryShortage):
        steps.generator.replace_context(refuse)
    assert steps.generator.context is steps.context
    assert steps.generator.running == [running]
    finish(steps, running)
