"""The size of prefill chunks follows the speed that was measured."""

from __future__ import annotations

from jupyter_ollama.engine.pace import Pace


def test_a_chunk_fills_the_time_that_a_step_may_take() -> None:
    pace = Pace(0.001)
    assert pace.chunk(streams=1) == 150
    assert pace.chunk(streams=0) == 400


def test_streams_beside_take_their_part_of_a_step() -> None:
    pace = Pace(0.001)
    for _ in range(50):
        pace.record(0.05, streams=8, prefill=0)
    assert pace.chunk(streams=8) == 100


def test_slower_is_believed_at_once_and_faster_by_and_by() -> None:
    pace = Pace(0.001)
    pace.record(0.4, streams=0, prefill=100)
    assert pace.chunk(streams=0) == 100
    pace.record(0.1, streams=0, prefill=100)
    assert 100 < pace.chunk(streams=0) < 200
    for _ in range(30):
        pace.record(0.1, streams=0, prefill=100)
    assert 380 < pace.chunk(streams=0) <= 400


def test_a_prompt_goes_on_however_slow_the_host_is() -> None:
    assert Pace(10.0).chunk(streams=1) > 0
