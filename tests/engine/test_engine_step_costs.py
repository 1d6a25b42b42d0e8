"""The size of prefill chunks follows the speed that was measured."""

from __future__ import annotations

import pytest

from jupyter_ollama.engine.step_costs import ALONE, BESIDE_STREAMS, ROW_COST, StepCosts

WEIGHTS, TILE = 0.001, 64


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


def in_long_context(attention: float) -> StepCosts:
    """Costs after steps of whole tiles whose attention takes so many seconds a token."""
    costs = StepCosts(WEIGHTS, TILE)
    for _ in range(50):
        costs.record(TILE * (WEIGHTS + attention), streams=0, drafted=0, prefill=TILE)
    return costs


@pytest.mark.parametrize("attention", [0.0, 0.0005, 0.002, 0.003])
def test_a_step_holds_a_whole_tile_rather_than_a_few_rows(attention: float) -> None:
    costs = in_long_context(attention)
    assert costs.chunk(1, BESIDE_STREAMS) >= TILE - 1
    assert costs.expected(1, TILE - 1) < 2.5 * BESIDE_STREAMS


def test_rows_are_read_where_a_tile_takes_too_long() -> None:
    """A model so slow that the attention counts for little."""
    costs = StepCosts(0.02, TILE)
    assert costs.chunk(1, BESIDE_STREAMS) == 8
    costs.record(0.2, streams=0, drafted=0, prefill=8)
    assert costs.chunk(1, BESIDE_STREAMS) == 8


def test_rows_and_tiles_are_measured_together() -> None:
    """Steps of either size state what both cost."""
    attention = 0.001
    costs = StepCosts(WEIGHTS, TILE)
    for _ in range(50):
        costs.record(20 * (WEIGHTS + ROW_COST * attention), streams=0, drafted=0, prefill=20)
    assert costs.expected(0, TILE) == pytest.approx(TILE * (WEIGHTS + attention))
    assert costs.expected(0, 20) == pytest.approx(20 * (WEIGHTS + ROW_COST * attention))


def test_fillers_are_used_where_a_tile_takes_less_time_than_rows() -> None:
    costs = in_long_context(0.001)
    assert costs.fillers(30, 29) == TILE - 30
    assert costs.fillers(5, 4) == 0  # a tile takes longer than four rows
    assert costs.fillers(TILE, TILE) == costs.fillers(200, 199) == 0
    assert costs.fillers(3, 0) == 0  # streams only
    assert StepCosts(WEIGHTS, TILE).fillers(30, 29) == 0  # a short context
    assert StepCosts(WEIGHTS).fillers(30, 29) == 0  # a GPU
