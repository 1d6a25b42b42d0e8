"""The prompt of ``--fix``: the last exception of a cell, and the cell."""

from __future__ import annotations

from typing import Any

from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython

from .context.traces import around, failing_line, short_traceback
from .failures import OllamaMagicsError

PROMPT = "Explain the error and show the corrected cell."
FENCE = "````"


class LastError:
    """Remembers the last cell of a shell that raised an exception."""

    def __init__(self) -> None:
        self._cell = ""
        self._error = ""
        self._line = 0

    def __call__(self, result: Any) -> None:
        """Record the result of a cell: an observer of IPython's event ``post_run_cell``."""
        error = result.error_before_exec or result.error_in_exec
        # A usage error explains itself, and an interrupt is intended.
        if isinstance(error, Exception) and not isinstance(error, UsageError):
            shell = get_ipython()
            number = f"In[{result.execution_count}]"
            self._cell = result.info.raw_cell
            self._error = short_traceback(error, lambda file: _cell_name(shell, file))
            self._line = failing_line(error, lambda file: _cell_name(shell, file), number)

    def short(self) -> str:
        """Return the error and the part of the cell around it, "" if there was none."""
        if not self._error:
            return ""
        return f"{around(self._cell, self._line)}\n\n{self._error}"

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


def _cell_name(shell: Any, file: str) -> str:
    """Return the name of the cell whose code has this file name, "" for another file."""
    named = shell.compile.format_code_name(file) if shell is not None else None
    return str(named[1]) if named else ""
