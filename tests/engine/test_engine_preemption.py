"""Steps interrupted for a first token: the new stream is in the next one, and no token is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from interruptions import requests_all_the_time
from plain_loop import PlainLoop
from steps import Steps
from tiny_recurrent import write_recurrent

from jupyter_ollama.engine.llama_context import INTERRUPTED, Batch, LlamaContext
from jupyter_ollama.engine.preemption import Preemption
from jupyter_ollama.engine.step_costs import StepCosts

SHIPS = "The ships sailed on and on, as they had done for years. " * 8


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The return codes of batches. Each may be interrupted as long as it computes."""
    codes: list[int] = []
    decode = LlamaContext.decode

    def record(self: LlamaContext, batch: Batch) -> int:
        codes.append(decode(self, batch))
        return codes[-1]

    monkeypatch.setattr(LlamaContext, "decode", record)
    monkeypatch.setattr(StepCosts, "expected", lambda costs, contents: 1000.0)
    return codes


def finish(steps: Steps, preemption: Preemption) -> None:
    """Finish all sequences while requests arrive all the time; free the context."""
    with requests_all_the_time(preemption):
        while steps.generator.busy:
            steps.generator.step()
    steps.context.close()


@pytest.mark.parametrize("model", ["smollm2_f16", "gemma3_f16"])
def test_answers_go_on_as_if_nothing_had_been(
    model: str,
    codes: list[int],
    request: pytest.FixtureRequest,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path: Path = request.getfixturevalue(model)
    preemption = Preemption()
    steps = Steps(path, 6, preemption)
    rows = [steps.add(f"{SHIPS} {name}", 12, stream=False) for name in ("Bees", "Cats", "Dogs")]
    stream = steps.add("Birds like", 12)
    capfd.readouterr()
    finish(steps, preemption)
    assert codes.count(INTERRUPTED) > 5
    # An interrupted step runs to its end the next time, however many requests arrive.
    assert all(codes[n : n + 2] != [INTERRUPTED] * 2 for n in range(len(codes)))
    # llama.cpp takes it for an error.
    assert capfd.readouterr().err == ""
    loop = PlainLoop(path)
    for sequence in (*rows, stream):
        split = len(sequence.prompt)
        assert sequence.generated > 1
        assert max(loop.misses(sequence.prompt, sequence.tokens[split:])) < 0.2
    loop.close()


def test_a_request_that_arrives_during_a_step_is_in_the_next(
    smollm2_f16: Path, codes: list[int]
) -> None:
    preemption = Preemption()
    steps = Steps(smollm2_f16, 4, preemption)
    row = steps.add(SHIPS, 99, stream=False)
    codes.clear()
    come = threading.Timer(0.005, preemption.hand_over, [lambda: steps.add("Bees like")])
    come.start()
    steps.generator.step()
    come.join()
    assert codes == [INTERRUPTED]
    assert row.cache.cached == 0
    steps.generator.step()
    assert [s.generated for s in steps.generator.running] == [0, 1]
    steps.context.close()


def test_streams_do_not_pause_for_streams(smollm2_f16: Path, codes: list[int]) -> None:
    preemption = Preemption()
    steps = Steps(smollm2_f16, 4, preemption)
    for name in ("Bees", "Cats"):
        steps.add(f"{SHIPS} {name}", 12)
    finish(steps, preemption)
    assert INTERRUPTED not in codes


def test_the_prompt_of_a_stream_pauses_for_other_accounts(
    smollm2_f16: Path, codes: list[int]
) -> None:
    preemption = Preemption()
    steps = Steps(smollm2_f16, 4, preemption)
    sequence = steps.add(SHIPS * 2, 12, account=2)
    with requests_all_the_time(preemption, accounts=2):
        while steps.generator.busy:
            steps.generator.step()
    steps.context.close()
    assert codes.count(INTERRUPTED) >= 1
    assert all(codes[n : n + 2] != [INTERRUPTED] * 2 for n in range(len(codes)))
    loop = PlainLoop(smollm2_f16)
    assert max(loop.misses(sequence.prompt, sequence.tokens[len(sequence.prompt) :])) < 0.2
    loop.close()


def test_where_there_is_no_slot_nothing_is_given_up(smollm2_f16: Path, codes: list[int]) -> None:
    preemption = Preemption()
    steps = Steps(smollm2_f16, 2, preemption)
    for name in ("Bees", "Cats", "Dogs", "Birds"):
        steps.add(f"{SHIPS} {name}", 4, stream=False)
    with requests_all_the_time(preemption):
        while steps.generator.waiting:
            steps.generator.step()
    assert INTERRUPTED not in codes
    steps.context.close()


def test_states_cannot_be_taken_back(tmp_path: Path, codes: list[int]) -> None:
    preemption = Preemption()
    steps = Steps(write_recurrent(tmp_path / "mamba.gguf"), 4, preemption)
    steps.add(SHIPS, 12, stream=False)
    finish(steps, preemption)
    assert INTERRUPTED not in codes


def test_the_second_half_of_a_step_is_not_given_up(
    smollm2_f16: Path, codes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepCosts, "expected", lambda costs, contents: 1e-9)
    preemption = Preemption()
    steps = Steps(smollm2_f16, 4, preemption)
    steps.add(SHIPS, 12, stream=False)
    finish(steps, preemption)
    assert INTERRUPTED not in codes
