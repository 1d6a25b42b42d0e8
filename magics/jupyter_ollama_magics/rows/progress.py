"""The progress bar of a call with many rows: replaced by a report, kept when it is stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, Self

from ..frontend import in_notebook
from ..progress import WIDTH
from ..redraw_throttle import RedrawThrottle
from .report import duration

REFRESH_HZ = 4.0


class _Bar(Protocol):
    def draw(self, done: int) -> None:
        """Show the number of rows done."""

    def end(self, done: int, report: str | None) -> None:
        """Show the number of rows done; replace the bar by the report of a call that finished."""


class RowProgress:
    """Shows how many of ``total`` rows are done, from the first call of ``show`` on.

    At the end of the block the bar is filled and replaced by the line ``summary()``; after an
    exception it stays.
    """

    def __init__(
        self, done: Callable[[], int], total: int, summary: Callable[[], str] = str
    ) -> None:
        self.started = time.monotonic()
        self._done = done
        self._total = total
        self._summary = summary
        self._before = done()
        self._bar: _Bar | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if self._bar is not None:
            self._bar.end(self._done(), self._summary() if kind is None else None)

    def show(self) -> None:
        """Draw the bar."""
        self._bar = self._bar or self._new_bar()
        if self._bar is not None:
            self._bar.draw(self._done())

    def _new_bar(self) -> _Bar | None:
        ipython = sys.modules.get("IPython")
        if ipython is not None and in_notebook(ipython.get_ipython()):
            return _NotebookBar(self._total, self._before, self.started)
        try:
            return _TerminalBar(self._total, self._before, self.started)
        except ImportError:
            return None


class _TerminalBar:
    """A bar of tqdm. Raises ImportError if tqdm is not installed."""

    def __init__(self, total: int, before: int, started: float) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped]

        settings = {"initial": before, "smoothing": 0, "leave": False}
        self._bar = tqdm(total=total, unit="row", **settings)
        # tqdm counts the elapsed time from start_t; the call started before the bar.
        self._bar.start_t -= time.monotonic() - started

    def draw(self, done: int) -> None:
        self._bar.update(done - self._bar.n)

    def end(self, done: int, report: str | None) -> None:
        self.draw(done)
        self._bar.refresh()
        self._bar.leave = report is None
        self._bar.close()
        if report:
            self._bar.write(report, file=sys.stderr)


class _NotebookBar:
    """A line of text in an output of its own; a saved notebook keeps its last state."""

    def __init__(self, total: int, before: int, started: float) -> None:
        from IPython.display import DisplayHandle

        self._handle = DisplayHandle()
        self._throttle = RedrawThrottle(REFRESH_HZ)
        self._total = total
        self._before = before
        self._started = started
        self._text = ""

    def draw(self, done: int) -> None:
        if self._throttle.due():
            self._show(self._line(done))

    def end(self, done: int, report: str | None) -> None:
        self._show(self._line(done))
        if report is not None:
            self._show(report)

    def _line(self, done: int) -> str:
        elapsed = max(time.monotonic() - self._started, 0.001)
        rate = (done - self._before) / elapsed
        filled = WIDTH * done // max(self._total, 1)
        drawn = "█" * filled + " " * (WIDTH - filled)
        parts = [f"{100 * done // max(self._total, 1):3d} % ▕{drawn}▏ {done}/{self._total} rows"]
        if rate:
            remaining = (self._total - done) / rate
            parts.append(f"{rate:.1f}/s" if rate < 10 else f"{rate:.0f}/s")
            parts.append(f"{duration(remaining)} left" if done < self._total else duration(elapsed))
        return ", ".join(parts)

    def _show(self, text: str) -> None:
        if text == self._text:
            return
        draw: Callable[..., None] = self._handle.update if self._text else self._handle.display
        draw({"text/plain": text}, raw=True)
        self._text = text
