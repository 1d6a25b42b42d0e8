"""Holds on the blobs of models being created, published to other processes by locked files."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .regular_file import open_regular
from .temp_file import FOLDER, TempFile, lock

_SUFFIX = ".hold"


class BlobHold:
    """A file of digests. It is valid until it is released or its process ends, even by a kill."""

    def __init__(self, blobs: Path) -> None:
        self._blobs = blobs
        self._temp: TempFile | None = None

    def add(self, digest: str) -> None:
        """Hold another blob."""
        if self._temp is None:
            self._temp = TempFile(self._blobs, _SUFFIX)
        self._temp.file.write(f"{digest}\n".encode())
        self._temp.file.flush()

    def release(self) -> None:
        """Release all of them."""
        if self._temp is not None:
            self._temp.discard()


def held_digests(blobs: Path) -> set[str]:
    """Return the digests that live processes hold; remove the files of dead processes."""
    found: set[str] = set()
    for path in (blobs / FOLDER).glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError), open_regular(path) as file:
            if lock(file, wait=False):
                with contextlib.suppress(OSError):
                    path.unlink()
            else:
                found.update(file.read().decode().split())
    return found
