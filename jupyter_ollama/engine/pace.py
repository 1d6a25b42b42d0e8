"""How many prompt tokens a step may take, learnt from how long steps have taken."""

from __future__ import annotations

BESIDE_STREAMS = 0.15
ALONE = 0.4
"""Seconds a step may last with streams running beside a prefill, and without (it is also how long
a cancel can take to be seen)."""


class Pace:
    """Sizes prefill chunks by the measured speed of this host and model."""

    def __init__(self, seconds_per_token: float) -> None:
        self._prefill = seconds_per_token
        self._decode = 0.0

    def chunk(self, streams: int) -> int:
        """Return how many prompt tokens the next step may hold beside ``streams`` tokens."""
        seconds = BESIDE_STREAMS - self._decode if streams else ALONE
        return max(8, int(seconds / self._prefill))

    def record(self, seconds: float, streams: int, prefill: int) -> None:
        """Learn from a step. Slower is believed at once, faster by and by."""
        if not prefill:
            self._decode += (seconds - self._decode) * 0.2
        elif prefill >= 8:
            cost = max(seconds - (self._decode if streams else 0.0), 1e-6) / prefill
            self._prefill = max(cost, self._prefill + (cost - self._prefill) * 0.3)
