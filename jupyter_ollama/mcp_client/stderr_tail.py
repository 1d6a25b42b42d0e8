"""The last lines that a process writes to its standard error, and the moment it closes it."""

from __future__ import annotations

import asyncio
import os
from typing import TextIO

_KEPT = 4096
_READ = 65_536


class StderrTail:
    """Reads the standard error of a child process; keeps its last 4,096 bytes.

    ``file`` is what the child gets. ``release`` closes it here once the child has its own copy:
    from then on the end of the pipe shows that the child has ended.
    """

    def __init__(self) -> None:
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self.file: TextIO = os.fdopen(write_end, "w")
        self.ended = False
        self._kept = b""
        asyncio.get_running_loop().add_reader(self._read_end, self._take)

    def release(self) -> None:
        """Close our copy of the writing end."""
        self.file.close()

    @property
    def text(self) -> str:
        """The last line with something in it, "" if there is none."""
        lines = self._kept.decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """Stop reading."""
        self.file.close()
        if self._read_end >= 0:
            asyncio.get_running_loop().remove_reader(self._read_end)
            os.close(self._read_end)
            self._read_end = -1

    def _take(self) -> None:
        try:
            piece = os.read(self._read_end, _READ)
        except BlockingIOError:
            return
        self._kept = (self._kept + piece)[-_KEPT:]
        if not piece:
            self.ended = True
            asyncio.get_running_loop().remove_reader(self._read_end)
