"""What ``%ollama pull`` and ``create`` show: a bar for each file, in one place."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .pace import Pace
from .readable import size
from .stream_view import in_notebook

WIDTH = 30
"""Characters of a full bar."""


class StepLines:
    """The lines of a pull or an upload: status lines as they come, files with a bar.

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
        return "\n".join(map(line, self.steps.values()))


def line(step: dict[str, Any]) -> str:
    """Return a step as a line, with a bar if its bytes are known."""
    status: str = step.get("status", "")
    return bar(status, step.get("completed", 0), step["total"]) if "total" in step else status


def share(done: int, total: int) -> float:
    """Return how much of a layer is there, from 0 to 1."""
    return min(done / total, 1.0) if total else 1.0


def amount(done: int, total: int) -> str:
    """Return how much of a layer is there, in bytes."""
    return size(total) if share(done, total) == 1.0 else f"{size(done)} of {size(total)}"


def bar(status: str, done: int, total: int) -> str:
    """Return a line with a bar: how much of a layer is there."""
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
        self._pace = Pace(refresh_hz)
        self._begun = False

    def show(self, step: dict[str, Any]) -> None:
        """Show a step."""
        if self._lines.add(step) or self._pace.due():
            self._draw(str(self._lines))

    def close(self, said: str = "") -> None:
        """Show all steps, or what is said in their place."""
        if said or self._begun:
            self._draw(said or str(self._lines))

    def _draw(self, text: str) -> None:
        draw = self._handle.update if self._begun else self._handle.display
        draw({"text/plain": text}, raw=True)
        self._begun = True


class TerminalSteps:
    """Shows steps in lines; those with a bar stay on a terminal, others make way for the next."""

    def __init__(self, refresh_hz: float) -> None:
        self._terminal = sys.stdout.isatty()
        self._pace = Pace(refresh_hz)
        self._last: dict[str, Any] = {}

    def show(self, step: dict[str, Any]) -> None:
        """Show a step."""
        new = step.get("status") != self._last.get("status")
        if self._terminal and (new or _whole(step) or self._pace.due()):
            self._write(("\n" if new and "total" in self._last else "\r\x1b[2K") + line(step))
        elif new and not self._terminal:
            self._write(step.get("status", "") + "\n")
        self._last = step

    def close(self, said: str = "") -> None:
        """End the line, or say something in its place unless it is a bar."""
        if self._last and self._terminal:
            self._write("\r\x1b[2K" if said and "total" not in self._last else "\n")
        self._write(f"{said}\n" if said else "")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def shown_steps(shell: Any, refresh_hz: float) -> Iterator[NotebookSteps | TerminalSteps]:
    """Yield what shows steps where the user looks; after an error it leaves them as they are."""
    view = NotebookSteps(refresh_hz) if in_notebook(shell) else TerminalSteps(refresh_hz)
    try:
        yield view
    except BaseException:
        view.close()
        raise
