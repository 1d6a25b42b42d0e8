"""The log of a compiler: its progress, and what its errors mean."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

from .command_log import last_lines, say, show_in_place

STEP = re.compile(r"\s*\[\s*(\d+)/(\d+)\]")  # ninja's "[12/193] g++ ..."
HINTS = {
    r"(?i)could not find cmake|cmake.* is required|no such file.*(cmake|ninja)": (
        "pip fetches CMake and ninja; where it cannot: sudo apt-get install cmake ninja-build"
    ),
    r"No CMAKE_C(XX)?_COMPILER could be found|is not able to compile|broken compiler": (
        "the compiler does not work: sudo apt-get install build-essential"
    ),
    r"unsupported GNU version|unsupported clang version": (
        "nvcc is older than the compiler: CUDAHOSTCXX names an older one, such as g++-14"
    ),
    r"(?i)killed signal|cannot allocate memory|out of memory": (
        "memory ran out: CMAKE_BUILD_PARALLEL_LEVEL=1 needs less of it and takes longer"
    ),
    r"No space left on device": (
        "the disk is full: XDG_CACHE_HOME and TMPDIR name other places for the build"
    ),
    r"No matching distribution|Could not fetch|ConnectionError": (
        "the package index could not be reached"
    ),
}


def explain(log: Path) -> str:
    """State the end of the log, the likely reason, and the path of the log."""
    hints = [f"Hint: {hint}" for hint in likely_reasons(log)]
    return "\n".join([last_lines(log), *hints, f"Full log: {log}"])


def likely_reasons(log: Path) -> list[str]:
    """Return what the errors in a log usually mean."""
    text = log.read_text(encoding="utf-8", errors="replace")
    return [hint for pattern, hint in HINTS.items() if re.search(pattern, text)]


class BuildProgress:
    """Shows the compiler's progress: one line that changes, or in a pipe a line every 10 %.

    ``expected`` is the usual duration in seconds, which counts less with every step and not at all
    after a third of them.
    """

    def __init__(self, expected: float) -> None:
        self.expected = expected
        self.started = 0.0
        self.total = 0
        self.shown = 0

    def __call__(self, line: str) -> None:
        """Take one line of pip's output."""
        match = STEP.match(line)
        if match is None:
            return
        done, total = int(match.group(1)), int(match.group(2))
        # ninja looks for new files before the first step, and a step may run another ninja.
        if not done or total < self.total:
            return
        if total > self.total:
            self.total, self.shown = total, 0
        now = time.monotonic()
        self.started = self.started or now
        elapsed = now - self.started
        text = f"  {done * 100 // total:3} %  {done} of {total} steps, {clock(elapsed)} so far"
        if done < total:
            text += f", about {clock(self.forecast(done / total, elapsed))} left"
        if sys.stdout.isatty():
            show_in_place(text)
        elif done * 10 // total > self.shown:
            self.shown = done * 10 // total
            say(text)

    def forecast(self, share: float, elapsed: float) -> float:
        """Return the seconds left when a share of the steps took ``elapsed`` seconds."""
        learnt = min(1.0, 3 * share)
        return (1 - share) * ((1 - learnt) * self.expected + learnt * elapsed / share)


def clock(seconds: float) -> str:
    """Return minutes and seconds as 7:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
