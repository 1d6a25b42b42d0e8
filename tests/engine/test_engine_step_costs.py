"""The size of prefill chunks follows the speed that was measured, and the depth of the prompts."""

from __future__ import annotations

import pytest

from jupyter_ollama.engine.attention_costs import AttentionCosts
from jupyter_ollama.engine.reading_order import TILE
from jupyter_ollama.engine.step_costs import (
    ALONE,
    BESIDE_STREAMS,
    LEAST_CHUNK,
    StepContents,
    StepCosts,
    cells_before,
)

WEIGHTS, CELL, ROW_COST = 0.001, 1e-6, 8.0
ATTENTION = AttentionCosts(2 * CELL, 2 * CELL * ROW_COST)


def chunk(costs: StepCosts, streams: int, seconds: float, depth: int = 0) -> int:
    """Return the tokens of one prompt that a step of so many seconds may hold."""
    allowed = costs.prefill_time(streams, seconds, depth)
    return costs.tokens(allowed.seconds, depth, is_tiled=allowed.is_tiled)


def decoded(costs: StepCosts, streams: int, seconds: float, drafted: int = 0) -> None:
    """Record a step of streams."""
    costs.record(seconds, StepContents(streams, drafted))


def prefilled(costs: StepCosts, seconds: float, tokens: int, depth: int = 0) -> None:
    """Record a step that reads a part of a prompt."""
    costs.record(seconds, StepContents.of_prompt(tokens, depth))


def test_a_chunk_fills_the_time_that_a_step_may_take() -> None:
    costs = StepCosts(0.001)
    assert chunk(costs, 1, BESIDE_STREAMS) == 150
    assert chunk(costs, 0, ALONE) == 400


def test_streams_beside_take_their_part_of_a_step() -> None:
    costs = StepCosts(0.001)
    for _ in range(50):
        decoded(costs, 8, 0.05)
    assert chunk(costs, 8, BESIDE_STREAMS) == 100


def test_a_step_takes_as_long_as_its_streams_and_its_prompts() -> None:
    costs = StepCosts(0.001)
    for _ in range(50):
        decoded(costs, 8, 0.05)
    assert round(costs.expected(StepContents(8, 0, 30)), 6) == 0.08
    assert round(costs.expected(StepContents(prefill=30)), 6) == 0.03


def test_slower_is_believed_at_once_and_faster_by_and_by() -> None:
    costs = StepCosts(0.001)
    prefilled(costs, 0.4, 100)
    assert chunk(costs, 0, ALONE) == 100
    prefilled(costs, 0.1, 100)
    assert 100 < chunk(costs, 0, ALONE) < 200
    for _ in range(30):
        prefilled(costs, 0.1, 100)
    assert 380 < chunk(costs, 0, ALONE) <= 400


def test_a_slow_host_leaves_no_time_for_prompts() -> None:
    """The batch holds the fewest tokens all the same."""
    assert chunk(StepCosts(10.0), 1, BESIDE_STREAMS) == 0


def test_a_draft_costs_its_part_of_what_a_token_is_worth() -> None:
    costs = StepCosts(0.001)
    assert costs.price(streams=4) == 1  # nothing is known of steps with four streams
    for _ in range(60):
        decoded(costs, 4, 0.02)
        decoded(costs, 4, 0.02 + 6 * 0.002, drafted=6)
    # A token of a step costs 5 ms, one more 2 ms.
    assert abs(costs.price(streams=4) - 0.4) < 0.01


def test_steps_with_drafts_do_not_count_as_plain_ones() -> None:
    costs = StepCosts(0.001)
    decoded(costs, 1, 0.02)
    before = chunk(costs, 1, BESIDE_STREAMS)
    decoded(costs, 1, 0.1, drafted=8)
    assert chunk(costs, 1, BESIDE_STREAMS) == before


def measured(costs: StepCosts, tokens: int = TILE, cell: float = CELL) -> StepCosts:
    """Return costs after steps at several depths, on a host whose attention costs so much."""
    factor = 1.0 if tokens >= TILE else ROW_COST
    for _ in range(20):
        for depth in (0, 1000, 3000):
            cells = cells_before(tokens, depth)
            prefilled(costs, tokens * WEIGHTS + factor * cell * cells, tokens, depth)
    return costs


@pytest.mark.parametrize("tokens", [8, 32, TILE, 256])
@pytest.mark.parametrize("depth", [0, 500, 2000, 8000])
def test_steps_state_what_others_of_any_depth_cost(tokens: int, depth: int) -> None:
    """Rows and tiles are measured together, and so are short and long contexts."""
    costs = measured(StepCosts(WEIGHTS, ATTENTION), tokens)
    for count, factor in ((TILE, 1.0), (20, ROW_COST)):
        cells = cells_before(count, depth)
        expected = costs.expected(StepContents.of_prompt(count, depth))
        assert expected == pytest.approx(count * WEIGHTS + factor * CELL * cells, rel=0.05)


def test_short_prompts_do_not_lengthen_the_steps_of_long_ones() -> None:
    """Questions that are answered at once are read beside a long prompt of another user."""
    costs = measured(StepCosts(WEIGHTS, ATTENTION))
    before = chunk(costs, 0, BESIDE_STREAMS, 4000)
    for _ in range(100):
        prefilled(costs, 20 * WEIGHTS + ROW_COST * CELL * cells_before(20, 0), 20)
    assert chunk(costs, 0, BESIDE_STREAMS, 4000) == pytest.approx(before, abs=1)


@pytest.mark.parametrize("depth", [0, 100, 1000, 10_000])
@pytest.mark.parametrize("is_tiled", [True, False])
def test_tokens_and_seconds_agree(depth: int, *, is_tiled: bool) -> None:
    costs = measured(StepCosts(WEIGHTS, ATTENTION))
    for count in (1, 10, 300):
        seconds = costs.seconds(count, depth, is_tiled=is_tiled)
        assert costs.tokens(seconds * 1.0001, depth, is_tiled=is_tiled) == count


@pytest.mark.parametrize("depth", [0, 500, 2000, 4000])
def test_a_step_holds_a_whole_tile_rather_than_a_few_rows(depth: int) -> None:
    costs = measured(StepCosts(WEIGHTS, ATTENTION))
    allowed = costs.prefill_time(1, BESIDE_STREAMS, depth)
    assert allowed.is_tiled
    assert chunk(costs, 1, BESIDE_STREAMS, depth) >= TILE - 2
    assert allowed.seconds <= 2 * max(BESIDE_STREAMS, costs.seconds(8, depth, is_tiled=False))


def test_steps_of_shared_servers_are_not_longer_for_a_tile() -> None:
    costs = measured(StepCosts(WEIGHTS, ATTENTION))
    allowed = costs.prefill_time(1, BESIDE_STREAMS, 4000, may_be_longer=False)
    assert allowed == (BESIDE_STREAMS, False)


def test_rows_are_read_where_a_tile_takes_too_long() -> None:
    """A model so slow that the attention counts for little."""
    costs = StepCosts(0.02, AttentionCosts(1e-9, 1e-8))
    assert not costs.prefill_time(1, BESIDE_STREAMS).is_tiled
    prefilled(costs, 0.02 * LEAST_CHUNK, LEAST_CHUNK)
    assert not costs.prefill_time(1, BESIDE_STREAMS).is_tiled


def test_fillers_are_used_where_a_tile_takes_less_time_than_rows() -> None:
    costs = measured(StepCosts(WEIGHTS, ATTENTION))
    cells = cells_before(29, 2000)
    assert costs.fillers(30, cells) == TILE - 30
    assert costs.fillers(5, cells_before(4, 1000)) == 0  # a tile takes longer than four rows
    assert costs.fillers(TILE, cells) == costs.fillers(200, cells) == 0
    assert costs.fillers(3, 0) == 0  # streams only
    assert measured(StepCosts(WEIGHTS)).fillers(30, cells) == 0  # a GPU


def test_the_end_of_a_prompt_takes_as_long_as_the_better_kind_of_batch() -> None:
    costs = measured(StepCosts(WEIGHTS, ATTENTION))
    rows = costs.seconds(30, 3000, is_tiled=False)
    tile = costs.seconds(30, 3000) + (TILE - 30) * WEIGHTS
    assert tile < rows
    assert costs.seconds_alone(30, 3000) == pytest.approx(tile)
    assert costs.seconds_alone(30, 20) == costs.seconds(30, 20, is_tiled=False)
    assert costs.seconds_alone(100, 3000) == costs.seconds(100, 3000)
