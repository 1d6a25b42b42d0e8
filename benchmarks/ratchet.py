"""The ratios that a release must reach: ratchet.json, by model, figure and rival.

A ratio of more than 1 means that jupyter_ollama is better. The numbers go up when a release is
faster, and down only with a reason in the commit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from table import Samples

FLOORS: dict[str, dict[str, dict[str, float]]] = json.loads(
    Path(__file__).with_name("ratchet.json").read_text("utf-8")
)


def slips(model: str, samples: Samples) -> list[str]:
    """Return a line for each median ratio that was measured and is below its floor."""
    return list(_slips(model, samples))


def _slips(model: str, samples: Samples) -> Iterator[str]:
    for figure, rivals in FLOORS[model].items():
        for rival, floor in rivals.items():
            ratios = samples.ratios(figure, rival)
            if ratios and median(ratios) < floor:
                yield f"    {figure}: {median(ratios):.2f} of {rival}, not {floor}"
