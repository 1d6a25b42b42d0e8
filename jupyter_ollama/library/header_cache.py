"""The headers of GGUF files that were read last, within a budget of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

from .gguf import Header, read_header

Version = tuple[int, int]
"""Time of change in nanoseconds, and bytes."""

_TENSOR_BYTES = 400
_ENTRY_BYTES = 200


class HeaderCache:
    """Keeps the newest header of each path; evicts those used least recently.

    ``budget`` is in bytes, as far as they can be estimated.
    """

    def __init__(self, budget: int = 2**27) -> None:
        self.budget = budget
        self.used = 0
        self._headers: OrderedDict[Path, tuple[Version, Header]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._headers)

    def read(self, path: Path) -> Header:
        """Return the header of a file, without its arrays. Raises InvalidGGUF or OSError."""
        status = path.stat()
        version = status.st_mtime_ns, status.st_size
        with self._lock:
            known = self._headers.get(path)
            if known and known[0] == version:
                self._headers.move_to_end(path)
                return known[1]
        header = read_header(path)
        with self._lock:
            self._drop(path)
            self._headers[path] = version, header
            self.used += _cost(header)
            while self.used > self.budget:
                self._drop(next(iter(self._headers)))
        return header

    def _drop(self, path: Path) -> None:
        known = self._headers.pop(path, None)
        if known:
            self.used -= _cost(known[1])


def _cost(header: Header) -> int:
    """Estimate the memory of a header in bytes."""
    texts = sum(len(value) for value in header.metadata.values() if isinstance(value, str))
    return len(header.tensors) * _TENSOR_BYTES + len(header.metadata) * _ENTRY_BYTES + texts
