"""What ``%ollama pull`` shows: a bar for each layer, in one output that is updated in place."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from .ollama_command import Bytes

WIDTH = 30
"""Characters of a full bar."""


class PullLines:
    """The lines of a pull: status lines as they come, layers with a bar.

    ``steps`` holds the last step of each line.
    """

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, Any]] = {}

    def add(self, step: dict[str, Any]) -> bool:
        """Take a status line; tell whether it begins a new line."""
        status = step.get("status", "")
        new = status not in self.steps
        self.steps[status] = step
        return new

    def __str__(self) -> str:
        return "\n".join(
            bar(status, step.get("completed", 0), step["total"]) if "total" in step else status
            for status, step in self.steps.items()
        )


def share(done: int, total: int) -> float:
    """Return how much of a layer is there, from 0 to 1."""
    return min(done / total, 1.0) if total else 1.0


def amount(done: int, total: int) -> str:
    """Return how much of a layer is there, in bytes."""
    return f"{Bytes(total)}" if share(done, total) == 1.0 else f"{Bytes(done)} of {Bytes(total)}"


def bar(status: str, done: int, total: int) -> str:
    """Return a line with a bar: how much of a layer is there."""
    part = share(done, total)
    filled = int(part * WIDTH)
    drawn = "█" * filled + " " * (WIDTH - filled)
    return f"{status}  ▕{drawn}▏ {int(part * 100):3d} %  {amount(done, total)}"


def show_in_notebook(steps: Iterable[dict[str, Any]], refresh_hz: float) -> None:
    """Show a pull in an output that is updated ``refresh_hz`` times a second at most."""
    from IPython.display import DisplayHandle

    handle, lines = DisplayHandle(), PullLines()
    begun, shown = False, 0.0
    try:
        for step in steps:
            new = lines.add(step)
            if new or time.monotonic() - shown >= 1 / refresh_hz:
                draw = handle.update if begun else handle.display
                draw({"text/plain": str(lines)}, raw=True)
                begun, shown = True, time.monotonic()
    finally:
        if begun:
            handle.update({"text/plain": str(lines)}, raw=True)


def show_in_terminal(steps: Iterable[dict[str, Any]]) -> None:
    """Print each line of a pull once."""
    lines = PullLines()
    for step in steps:
        if lines.add(step):
            print(step.get("status", ""))  # noqa: T201
