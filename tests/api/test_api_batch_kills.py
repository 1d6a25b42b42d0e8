"""A batch survives kills of the server and its runners: each row is answered and billed once."""

from __future__ import annotations

from pathlib import Path

from batch_kills import KilledBatch
from batch_models import colour_store

ROWS, KILLS = 90, 3


def test_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """`benchmarks/batch_kills.py` does so with 1,000 rows and ten kills."""
    outcome = KilledBatch(colour_store(tmp_path), tmp_path, ROWS, KILLS, seed=1).run()
    assert outcome.faults(ROWS) == []
    assert outcome.killed == {"server": 1, "runner": 1, "both": 1}
