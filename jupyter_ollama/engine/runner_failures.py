"""The failures of runner processes, as clients and the log read them."""

from __future__ import annotations

import re
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

TERMINATED = (
    "model runner was ended by SIGTERM from outside of the server, as a batch system does at the "
    "end of a job; send the request again"
)

_ALLOCATION = re.compile(r"failed to allocate|out ?of ?(?:device ?|host ?)?memory", re.IGNORECASE)
"""In the errors of llama.cpp and ggml's backends after an allocation has failed."""


class LoadRefused(OllamaError):
    """The runner could not load its model; ``shortage`` is how many bytes of memory it lacked."""

    def __init__(self, event: LoadFailed) -> None:
        super().__init__(500, event.message)
        self.shortage = max(0, event.required - event.available)


class RunnerCrashed(OllamaError):
    """The runner ended while it loaded its model."""

    def __init__(self, message: str) -> None:
        super().__init__(500, message)


def is_fault_of_device(error: OllamaError) -> bool:
    """Return whether a load that had memory by its plan may succeed with fewer layers on GPUs.

    It may if the runner crashed, as some drivers make it, or could not allocate a buffer.
    """
    if isinstance(error, LoadRefused):
        return not error.shortage and bool(_ALLOCATION.search(error.message))
    return isinstance(error, RunnerCrashed)


def cause_of_end(status: int) -> str:
    """Return what ended a process: a signal by its name, or an exit status."""
    if status < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"


def end_message(status: int | None) -> str:
    """Return the error of the requests that ran in a runner with this exit status, if it is known.

    The server itself never sends SIGTERM.
    """
    return TERMINATED if status == -signal.SIGTERM else CRASHED


def crash_message(status: int, log_lines: Iterable[str]) -> str:
    """Return the error of the requests of a runner that ended, with what it logged last."""
    words = " ".join(last_output(log_lines).split("\n"))
    return f"{CRASHED} ({cause_of_end(status)}{': ' + words if words else ''})"
