"""The limits that a runner process sets for itself before it loads a model."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .devices import total_memory
from .runner_limits import RunnerLimits

SHARE = 0.9
"""The part of the host's memory that a runner may have where nothing else is set."""

OOM_SCORE_ADJ = Path("/proc/self/oom_score_adj")


def confine(limits: RunnerLimits) -> None:
    """Limit the memory of this process, and have the kernel end it before its parent."""
    _limit_memory(limits.memory)
    with contextlib.suppress(OSError):  # another system, or a container that forbids it
        now = int(OOM_SCORE_ADJ.read_text())
        OOM_SCORE_ADJ.write_text(str(max(now, limits.oom_score_adj)))


def _limit_memory(size: int) -> None:
    """Limit private memory.

    By RLIMIT_DATA, since RLIMIT_AS would count mapped weights and the hundreds of GB of addresses
    that GPU drivers reserve without memory.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would contain the users' prompts
    size = size or int(SHARE * (total_memory() or 0))
    if size <= 0:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        size = min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
