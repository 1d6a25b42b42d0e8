"""The tokens a second that loaded models generate, from the reports of their processes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..scheduler.loaded import LoadedModel

Place = tuple[int, int]
"""A process, and the number of the adapters of one of its models."""

WINDOW = 5.0
"""Seconds that a rate is the mean of: a process reports each second."""


class Rates:
    """Compares the counts of generated tokens with those of some seconds ago."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, dict[Place, int]]] = deque()

    def restart(self) -> None:
        """Forget earlier counts."""
        self._points.clear()

    def measure(self, loaded: Iterable[LoadedModel]) -> dict[str, float]:
        """Return the tokens a second of each model that generates, by its name."""
        models = [*loaded]
        now = time.monotonic()
        counts = {_place_of(one): one.generated for one in models}
        self._points.append((now, counts))
        while now - self._points[0][0] > WINDOW:
            self._points.popleft()
        start, first = self._points[0]
        if start == now:
            return {}
        found: dict[str, float] = {}
        for one in models:
            place = _place_of(one)
            more = counts[place] - first.get(place, 0)
            if more > 0:
                found[one.model.name.display] = round(more / (now - start), 1)
        return found


def _place_of(loaded: LoadedModel) -> Place:
    return loaded.runner.pid, loaded.adaptation.number
