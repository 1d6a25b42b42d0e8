"""The ratchet of the benchmarks: its figures are measured, and slower releases are reported."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from ratchet import FLOORS, slips  # noqa: E402
from table import OURS, Samples  # noqa: E402

FIGURE = "16 streams: generating only, tokens/s"


def recorded(model: str) -> dict[tuple[str, str], float]:
    """Return the median ratios of the newest results of a model; later tables count less."""
    page = sorted((BENCHMARKS / "results").glob(f"*-{model}.md"))[-1].read_text("utf-8")
    ratios: dict[tuple[str, str], float] = {}
    head: list[str] = []
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "figure":
            head = cells
        for name, cell in zip(head, cells, strict=False):
            rival = name.removeprefix("against ")
            if rival != name and (number := re.match(r"[\d.]+", cell)):
                ratios.setdefault((cells[0], rival), float(number[0]))
    return ratios


@pytest.mark.parametrize("model", FLOORS)
def test_the_recorded_results_reach_every_floor(model: str) -> None:
    reached = recorded(model)
    for figure, rivals in FLOORS[model].items():
        for rival, floor in rivals.items():
            assert reached[figure, rival] >= floor, (figure, rival)


def test_a_slower_release_slips() -> None:
    floor = FLOORS["smollm2"][FIGURE]["llama-server"]
    samples = Samples()
    for turn in range(3):
        samples.add(OURS, turn, {FIGURE: 100 * floor + 1})
        samples.add("llama-server", turn, {FIGURE: 100})
    assert slips("smollm2", samples) == []
    for turn in range(3, 10):
        samples.add(OURS, turn, {FIGURE: 100 * floor - 10})
        samples.add("llama-server", turn, {FIGURE: 100})
    assert slips("smollm2", samples) == [
        f"    {FIGURE}: {floor - 0.1:.2f} of llama-server, not {floor}"
    ]
