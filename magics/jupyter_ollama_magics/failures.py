"""The errors of magics: the cell fails, and its output is one line."""

from __future__ import annotations

from IPython.core.error import UsageError


class OllamaMagicsError(UsageError):
    """An error for the user: it stops Run All and shows its text without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"\x1b[31mError:\x1b[0m {self}"]


class Interrupted(KeyboardInterrupt):
    """A kernel interrupt that shows as one line."""

    def _render_traceback_(self) -> list[str]:
        return ["\x1b[31mInterrupted\x1b[0m"]
