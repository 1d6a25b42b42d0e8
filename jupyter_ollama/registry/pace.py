"""How hard and how long transfers try."""

from __future__ import annotations

from typing import NamedTuple


class Pace(NamedTuple):
    """Sizes in bytes, times in seconds. The defaults are Ollama's where it has such a number."""

    parts: int = 16
    """Parts of a blob that are on their way at once."""
    min_part: int = 100_000_000
    max_part: int = 1_000_000_000
    save: int = 8 * 2**20
    """The progress of a part is written down each time so much more of it has come."""
    tries: int = 6
    """Failures in a row, without a byte between them, after which a part is given up."""
    request_tries: int = 3
    """The same for a small request."""
    backoff: float = 1.0
    """The wait after a first failure; it doubles with each further one."""
    stall: float = 30.0
    """A connection that says nothing for so long is given up and tried anew."""
    progress: float = 0.06
    """The time between two lines of progress."""

    def part_size(self, total: int) -> int:
        """Return the size of the parts of a blob."""
        return min(max(total // self.parts, self.min_part), self.max_part)

    def wait(self, failures: int) -> float:
        """Return how long to wait after the last of some failures in a row."""
        return float(self.backoff * 2 ** (failures - 1))
