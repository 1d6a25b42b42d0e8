"""The size of prefill chunks follows the speed that was measured."""

from __future__ import annotations

from jupyter_ollama.engine.step_costs import ALONE, BESIDE_STREAMS, StepCosts


def test_a_chunk_fills_the_time_that_a_step_may_take() -> None:
    costs = StepCosts(0.001)
    assert costs.chunk(1, BESIDE_STREAMS) == 150
    assert costs.chunk(0, ALONE) == 400


def test_streams_beside_take_their_part_of_a_step() -> None:
    costs = StepCosts(0.001)
    for _ in range(50):
        costs.record(0.05, streams=8, drafted=0, prefill=0)
    assert costs.chunk(8, BESIDE_STREAMS) == 100


def test_a_step_takes_as_long_as_its_streams_and_its_prompts() -> None:
    costs = StepCosts(0.001)
    for _ in range(50):
        costs.record(0.05, streams=8, drafted=0, prefill=0)
    assert round(costs.expected(8, 30), 6) == 0.08
    assert round(costs.expected(0, 30), 6) == 0.03


def test_slower_is_believed_at_once_and_faster_by_and_by() -> None:
    costs = StepCosts(0.001)
    costs.record(0.4, streams=0, drafted=0, prefill=100)
    assert costs.chunk(0, ALONE) == 100
    costs.record(0.1, streams=0, drafted=0, prefill=100)
    assert 100 < costs.chunk(0, ALONE) < 200
    for _ in range(30):
        costs.record(0.1, streams=0, drafted=0, prefill=100)
    assert 380 < costs.chunk(0, ALONE) <= 400


def test_a_prompt_goes_on_however_slow_the_host_is() -> None:
    assert StepCosts(10.0).chunk(1, BESIDE_STREAMS) > 0


def test_a_draft_costs_its_part_of_what_a_token_is_worth() -> None:
    costs = StepCosts(0.001)
    assert costs.price(streams=4) == 1  # nothing is known of steps with four streams
    for _ in range(60):
        costs.record(0.02, streams=4, drafted=0, prefill=0)
        costs.record(0.02 + 6 * 0.002, streams=4, drafted=6, prefill=0)
    # A token of a step costs 5 ms, one more 2 ms.
    assert abs(costs.price(streams=4) - 0.4) < 0.01


def test_steps_with_drafts_do_not_count_as_plain_ones() -> None:
    costs = StepCosts(0.001)
    costs.record(0.02, streams=1, drafted=0, prefill=0)
    before = costs.chunk(1, BESIDE_STREAMS)
    costs.record(0.1, streams=1, drafted=8, prefill=0)
    assert costs.chunk(1, BESIDE_STREAMS) == before
