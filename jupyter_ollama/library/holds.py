"""Which blobs models need that are being made, told to other processes by locked files."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .temp_file import FOLDER, TempFile, lock

_SUFFIX = ".hold"


class Hold:
    """A file of digests. It counts until it is let go or its process ends, however that ends."""

    def __init__(self, blobs: Path) -> None:
        self._blobs = blobs
        self._temp: TempFile | None = None

    def add(self, digest: str) -> None:
        """Hold one more blob."""
        if self._temp is None:
            self._temp = TempFile(self._blobs, _SUFFIX)
        self._temp.file.write(f"{digest}\n".encode())
        self._temp.file.flush()

    def release(self) -> None:
        """Let all of them go."""
        if self._temp is not None:
            self._temp.discard()


def held_digests(blobs: Path) -> set[str]:
    """Return what living processes hold; the files of dead ones are removed."""
    found: set[str] = set()
    for path in (blobs / FOLDER).glob(f"*{_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            if lock(file, wait=False):
                with contextlib.suppress(OSError):
                    path.unlink()
            else:
                found.update(file.read().decode().split())
    return found
