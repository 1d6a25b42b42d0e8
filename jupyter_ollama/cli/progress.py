"""The steps of a task as lines on standard error."""

from __future__ import annotations

import sys
from typing import Any

from jupyter_ollama_client.readable import size

from .command import note


class ProgressLines:
    """Shows the steps of a task on standard error: a line each, the current one kept up to date."""

    def __init__(self) -> None:
        self.status = ""
        self.terminal = sys.stderr.isatty()

    def show(self, step: dict[str, Any]) -> None:
        """Show one step: its status and, where the server reports them, the bytes done."""
        status, total = step.get("status", ""), step.get("total", 0)
        if status != self.status:
            self.close()
            self.status = status
            note(status, end="" if self.terminal else "\n")
        if total and self.terminal:
            done = step.get("completed", 0)
            note(f"\r\x1b[2K{status}  {done * 100 // total} % of {size(total)}", end="")

    def close(self) -> None:
        """End the current line."""
        if self.status and self.terminal:
            note("")
        self.status = ""
