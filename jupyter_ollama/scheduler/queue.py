"""Queues in which requests wait, and who is told of the places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[int], None]
"""Takes the place of a request in its queue, 1 for the next, and 0 while its model is loaded."""


class Queue:
    """Those who wait for the same thing, first come first served."""

    def __init__(self) -> None:
        self._places: dict[object, Tell | None] = {}

    @contextmanager
    def place(self, tell: Tell | None) -> Iterator[None]:
        """Wait while the block runs; ``tell`` gets the place now and whenever it changes."""
        key = object()
        self._places[key] = tell
        if tell:
            tell(len(self._places))
        try:
            yield
        finally:
            behind = list(self._places).index(key)
            del self._places[key]
            for place, other in enumerate(list(self._places.values())[behind:], behind + 1):
                if other:
                    other(place)
