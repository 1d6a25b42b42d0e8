"""What ``%ollama pull`` shows: a bar for each layer, in one output that is updated in place."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from .ollama_command import Bytes

WIDTH = 30
"""Characters of a full bar."""


class PullLines:
    """The lines of a pull: status lines as they come, layers with a bar."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}

    def add(self, step: dict[str, Any]) -> bool:
        """Take a status line; tell whether it begins a new line."""
        status = step.get("status", "")
        new = status not in self._lines
        self._lines[status] = status
        if "total" in step:
            self._lines[status] = bar(status, step.get("completed", 0), step["total"])
        return new

    def __str__(self) -> str:
        return "\n".join(self._lines.values())


def bar(status: str, done: int, total: int) -> str:
    """Return a line with a bar: how much of a layer is there."""
    share = min(done / total, 1.0) if total else 1.0
    filled = int(share * WIDTH)
    drawn = "█" * filled + " " * (WIDTH - filled)
    amount = f"{Bytes(total)}" if share == 1.0 else f"{Bytes(done)} of {Bytes(total)}"
    return f"{status}  ▕{drawn}▏ {int(share * 100):3d} %  {amount}"


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
