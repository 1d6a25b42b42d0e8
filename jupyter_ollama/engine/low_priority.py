"""Work that must not delay the batch loop: lower priority, and a bound on processor time."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress

NICENESS = 5
"""Of work beside the batch loop: it gets a third of the share of a busy processor."""


def lower_priority() -> None:
    """Lower the priority of this process."""
    with suppress(AttributeError, OSError):
        os.nice(NICENESS)


def lower_thread_priority() -> None:
    """Lower the priority of this thread, and of those that it starts. Only Linux can."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


def limit_processor_time(seconds: float) -> None:
    """End this process after so many more seconds of processor time, even in C code; 0 for never.

    The signal is SIGPROF.
    """
    if hasattr(signal, "setitimer"):  # Windows has no such timer
        signal.setitimer(signal.ITIMER_PROF, seconds)
