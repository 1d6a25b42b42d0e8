"""The retry policy of transfers."""

from __future__ import annotations

from typing import NamedTuple


class TransferPolicy(NamedTuple):
    """Sizes in bytes, times in seconds. The defaults are Ollama's where it defines them."""

    parts: int = 16
    """Parts of a blob that are transferred concurrently."""
    min_part: int = 100_000_000
    max_part: int = 1_000_000_000
    save: int = 8 * 2**20
    """The number of new bytes of a part after which its progress is recorded."""
    tries: int = 6
    """Consecutive failures without progress after which a part is given up."""
    request_tries: int = 3
    """The same for a small request."""
    backoff: float = 1.0
    """The wait after the first failure, doubled with each further one."""
    stall: float = 30.0
    """The silence after which a connection is abandoned and retried."""
    progress: float = 0.06
    """The time between two lines of progress."""

    def part_size(self, total: int) -> int:
        """Return the size of the parts of a blob."""
        return min(max(total // self.parts, self.min_part), self.max_part)

    def wait(self, failures: int) -> float:
        """Return the wait in seconds after a number of consecutive failures."""
        return float(self.backoff * 2 ** (failures - 1))
