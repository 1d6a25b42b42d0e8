"""Limits of a runner process: memory, time, and the threads and processes that prepare requests."""

from __future__ import annotations

import msgspec


class RunnerLimits(msgspec.Struct, frozen=True):
    """The limits of a runner; `RunnerBounds` has the traits that set them, and their reasons.

    Times are in seconds, sizes in bytes. The runner chooses a ``memory`` of 0, a negative one is no
    limit. ``environment`` names variables that it gets besides the usual ones.
    """

    template_seconds: float = 5.0
    template_memory: int = 2**30
    preparation_threads: int = 4
    preparation_processes: int = 2
    preparation_bytes: int = 2**18
    preparation_idle: float = 60.0
    memory: int = 0
    oom_score_adj: int = 500
    silence: float = 10.0
    load_silence: float = 30.0
    load_rate: int = 20 * 10**6
    load_turn: float = 10.0
    kill: float = 10.0
    environment: tuple[str, ...] = ()
