"""The failures of runner processes, as clients and the log read them."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import suppress

from ..errors import OllamaError
from ..library.child_process import last_output
from .events import LoadFailed

CRASHED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
    "error, check ollama server logs for details"
)

HUNG = "model runner has stopped responding and was ended, check ollama server logs for details"


class LoadRefused(OllamaError):
    """The runner could not load its model; ``shortage`` is how many bytes of memory it lacked."""

    def __init__(self, event: LoadFailed) -> None:
        super().__init__(500, event.message)
        self.shortage = max(0, event.required - event.available)


def cause_of_end(status: int) -> str:
    """Return what ended a process: a signal by its name, or an exit status."""
    if status < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def crash_message(status: int, log_lines: Iterable[str]) -> str:
    """Return the error of the requests of a runner that ended, with what it logged last."""
    words = " ".join(last_output(log_lines).split("\n"))
    return f"{CRASHED} ({cause_of_end(status)}{': ' + words if words else ''})"
