"""The output of ``%ollama pull`` and ``create``: status lines, and a bar for each file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_ollama_client.readable import size

from .frontend import in_notebook
from .redraw_throttle import RedrawThrottle

WIDTH = 30
"""Characters of a full bar."""


class StepLines:
    """The lines of a pull or an upload: one for each status, with a bar for files.

    ``steps`` holds the last step of each line.
    """

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, Any]] = {}

    def add(self, step: dict[str, Any]) -> bool:
        """Add a step; return whether it starts a new line."""
        status = step.get("status", "")
        new = status not in self.steps
        self.steps[status] = step
        return new

    def __str__(self) -> str:
        return "\n".join(map(line, self.steps.values()))


def line(step: dict[str, Any]) -> str:
    """Return a step as a line, with a bar if its bytes are known."""
    status: str = step.get("status", "")
    return bar(status, step.get("completed", 0), step["total"]) if "total" in step else status


def share(done: int, total: int) -> float:
    """Return the completed part of a layer, from 0 to 1."""
    return min(done / total, 1.0) if total else 1.0


def amount(done: int, total: int) -> str:
    """Return the completed part of a layer as text, in bytes."""
    return size(total) if share(done, total) == 1.0 else f"{size(done)} of {size(total)}"


def bar(status: str, done: int, total: int) -> str:
    """Return a line with a bar for the completed part of a layer."""
    part = share(done, total)
    filled = int(part * WIDTH)
    drawn = "█" * filled + " " * (WIDTH - filled)
    return f"{status}  ▕{drawn}▏ {int(part * 100):3d} %  {amount(done, total)}"


def _whole(step: dict[str, Any]) -> bool:
    return share(step.get("completed", 0), step.get("total", 0)) == 1.0


class NotebookSteps:
    """Shows steps in an output that is updated ``refresh_hz`` times a second at most."""

    def __init__(self, refresh_hz: float) -> None:
        from IPython.display import DisplayHandle

        self._handle, self._lines = DisplayHandle(), StepLines()
        self._throttle = RedrawThrottle(refresh_hz)
        self._begun = False

    def show(self, step: dict[str, Any]) -> None:
        """Show a step."""
        if self._lines.add(step) or self._throttle.due():
            self._draw(str(self._lines))

    def close(self, said: str = "") -> None:
        """Show all steps, or ``said`` in their place."""
        if said or self._begun:
            self._draw(said or str(self._lines))

    def _draw(self, text: str) -> None:
        draw: Callable[..., None] = self._handle.update if self._begun else self._handle.display
        draw({"text/plain": text}, raw=True)
        self._begun = True


class TerminalSteps:
    """Shows steps in lines. On a terminal, lines with a bar stay; the next line replaces others."""

    def __init__(self, refresh_hz: float) -> None:
        self._terminal = sys.stdout.isatty()
        self._throttle = RedrawThrottle(refresh_hz)
        self._last: dict[str, Any] = {}

    def show(self, step: dict[str, Any]) -> None:
        """Show a step."""
        new = step.get("status") != self._last.get("status")
        if self._terminal and (new or _whole(step) or self._throttle.due()):
            self._write(("\n" if new and "total" in self._last else "\r\x1b[2K") + line(step))
        elif new and not self._terminal:
            self._write(step.get("status", "") + "\n")
        self._last = step

    def close(self, said: str = "") -> None:
        """End the line; ``said`` replaces it unless it is a bar."""
        if self._last and self._terminal:
            self._write("\r\x1b[2K" if said and "total" not in self._last else "\n")
        self._write(f"{said}\n" if said else "")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def shown_steps(shell: Any, refresh_hz: float) -> Iterator[NotebookSteps | TerminalSteps]:
    """Yield the view for the front end of ``shell``; after an error its steps stay."""
    view = NotebookSteps(refresh_hz) if in_notebook(shell) else TerminalSteps(refresh_hz)
    try:
        yield view
    except BaseException:
        view.close()
        raise
