"""How long steps take on this host: what a step may hold, and what one more token costs."""

from __future__ import annotations

BESIDE_STREAMS = 0.15
ALONE = 0.4
"""Seconds a step may last with streams running beside a prefill, and without (it is also how long
a cancel can take to be seen)."""


class Pace:
    """Sizes prefill chunks, and prices drafts, by the measured speed of this host and model."""

    def __init__(self, seconds_per_token: float) -> None:
        self._prefill = seconds_per_token
        # Tokens cost more in a batch of few than in one of many.
        self._draft = 1.5 * seconds_per_token
        self._decode: dict[int, float] = {}
        self._latest = 0.0

    def chunk(self, streams: int) -> int:
        """Return how many prompt tokens the next step may hold beside ``streams`` sequences."""
        seconds = BESIDE_STREAMS - self._latest if streams else ALONE
        return max(8, int(seconds / self._prefill))

    def price(self, streams: int) -> float:
        """Return the cost of one more token in a step, as a part of what a stream's token costs."""
        decode = self._decode.get(streams)
        return self._draft * streams / decode if decode else 1.0

    def record(self, seconds: float, streams: int, drafted: int, prefill: int) -> None:
        """Learn from a step of so many streams with their drafts, and prompt tokens beside them.

        Slower is believed at once, faster by and by.
        """
        if prefill >= 8:
            cost = max(seconds - (self._latest if streams else 0.0), 1e-6) / prefill
            self._prefill = max(cost, self._prefill + (cost - self._prefill) * 0.3)
        elif not prefill and drafted:
            cost = max(seconds - self._decode.get(streams, seconds), 0.0) / drafted
            self._draft += (cost - self._draft) * 0.2
        elif not prefill:
            known = self._decode.get(streams, seconds)
            self._decode[streams] = known + (seconds - known) * 0.2
            self._latest += (seconds - self._latest) * 0.2
