"""The prompt of ``--fix``: the last exception of a cell, and the cell."""

from __future__ import annotations

import traceback
from typing import Any

from IPython.core.error import UsageError

from .failures import OllamaMagicsError

PROMPT = "Explain the error and show the corrected cell."
FENCE = "````"


class LastError:
    """Remembers the last cell of a shell that raised an exception."""

    def __init__(self) -> None:
        self._cell = ""
        self._error = ""

    def __call__(self, result: Any) -> None:
        """Record the result of a cell: an observer of IPython's event ``post_run_cell``."""
        error = result.error_before_exec or result.error_in_exec
        # A usage error explains itself, and an interrupt is intended.
        if isinstance(error, Exception) and not isinstance(error, UsageError):
            self._cell, self._error = result.info.raw_cell, _traceback(error)

    def prompt(self, question: str) -> str:
        """Return a prompt with the cell, its traceback and a question about both."""
        if not self._error:
            raise OllamaMagicsError("--fix found no error: no cell has raised an exception yet.")
        parts = [
            f"This cell of a notebook failed:\n\n{FENCE}python\n{self._cell.strip()}\n{FENCE}",
            f"The error was:\n\n{FENCE}\n{self._error}\n{FENCE}",
            question.strip() or PROMPT,
        ]
        return "\n\n".join(parts)


def with_body(lines: list[str]) -> list[str]:
    """Add a body to a cell that is only the line of ``%%chat``: IPython requires one."""
    return [*lines, "\n"] if len(lines) == 1 and lines[0].startswith("%%chat ") else lines


def _traceback(error: BaseException) -> str:
    """Return a traceback without the frames of IPython before those of the cell."""
    frame = error.__traceback__
    while frame is not None and "/IPython/" in frame.tb_frame.f_code.co_filename.replace("\\", "/"):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame)).strip()
