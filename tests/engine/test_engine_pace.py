"""The size of prefill chunks follows the speed that was measured."""

from __future__ import annotations

from jupyter_ollama.engine.pace import ALONE, BESIDE_STREAMS, Pace


def test_a_chunk_fills_the_time_that_a_step_may_take() -> None:
    pace = Pace(0.001)
    assert pace.chunk(1, BESIDE_STREAMS) == 150
    assert pace.chunk(0, ALONE) == 400


def test_streams_beside_take_their_part_of_a_step() -> None:
    pace = Pace(0.001)
    for _ in range(50):
        pace.record(0.05, streams=8, drafted=0, prefill=0)
    assert pace.chunk(8, BESIDE_STREAMS) == 100


def test_a_step_takes_as_long_as_its_streams_and_its_prompts() -> None:
    pace = Pace(0.001)
    for _ in range(50):
        pace.record(0.05, streams=8, drafted=0, prefill=0)
    assert round(pace.expected(8, 30), 6) == 0.08
    assert round(pace.expected(0, 30), 6) == 0.03


def test_slower_is_believed_at_once_and_faster_by_and_by() -> None:
    pace = Pace(0.001)
    pace.record(0.4, streams=0, drafted=0, prefill=100)
    assert pace.chunk(0, ALONE) == 100
    pace.record(0.1, streams=0, drafted=0, prefill=100)
    assert 100 < pace.chunk(0, ALONE) < 200
    for _ in range(30):
        pace.record(0.1, streams=0, drafted=0, prefill=100)
    assert 380 < pace.chunk(0, ALONE) <= 400


def test_a_prompt_goes_on_however_slow_the_host_is() -> None:
    assert Pace(10.0).chunk(1, BESIDE_STREAMS) > 0


def test_a_draft_costs_its_part_of_what_a_token_is_worth() -> None:
    pace = Pace(0.001)
    assert pace.price(streams=4) == 1  # nothing is known of steps with four streams
    for _ in range(60):
        pace.record(0.02, streams=4, drafted=0, prefill=0)
        pace.record(0.02 + 6 * 0.002, streams=4, drafted=6, prefill=0)
    # A token of a step costs 5 ms, one more 2 ms.
    assert abs(pace.price(streams=4) - 0.4) < 0.01


def test_steps_with_drafts_do_not_count_as_plain_ones() -> None:
    pace = Pace(0.001)
    pace.record(0.02, streams=1, drafted=0, prefill=0)
    before = pace.chunk(1, BESIDE_STREAMS)
    pace.record(0.1, streams=1, drafted=8, prefill=0)
    assert pace.chunk(1, BESIDE_STREAMS) == before
