"""Writing one blob: hashed on the way, verified, and renamed into place."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from ..errors import OllamaError
from .disk_errors import writing
from .regular_file import open_regular
from .temp_file import TempFile

_PIECE = 2**20
_FICLONE = 0x40049409


class Blob(NamedTuple):
    """A stored blob: its digest, its size in bytes, and whether this write created it."""

    digest: str
    size: int
    created: bool


class Place(Protocol):
    """Where blobs are put: a store."""

    blobs: Path

    def placing(self, digest: str) -> AbstractContextManager[None]:
        """Mark a blob, and exclude removals while it is renamed into place."""


class BlobWriter:
    """A blob that is being written, as a context manager; without a commit it is discarded."""

    def __init__(self, place: Place, given: str | None, expected: str | None) -> None:
        self._place = place
        self._given = given
        self._expected = expected
        self._hash = hashlib.sha256()
        self._size = 0
        self._what = f"blob {given}" if given else "a new layer"
        with writing(self._what):
            self._temp = TempFile(place.blobs)

    @property
    def path(self) -> Path:
        """The temporary file, for another process to fill; see ``adopt``."""
        return self._temp.path

    @property
    def digest(self) -> str:
        """The digest of what was written so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        with writing(self._what):
            self._temp.file.write(data)
        self._hash.update(data)
        self._size += len(data)

    def adopt(self, advance: Callable[[int], None] = lambda count: None) -> None:
        """Take over what another process wrote to ``path``; ``advance`` receives the bytes read."""
        self._hash, self._size = hashlib.sha256(), 0
        with open_regular(self.path) as file:
            while piece := file.read(_PIECE):
                self._hash.update(piece)
                self._size += len(piece)
                advance(len(piece))

    def clone(self, source: IO[bytes]) -> bool:
        """Share the content of a file by copy-on-write; return False where that is not possible.

        ``adopt`` must follow.
        """
        if sys.platform != "linux":
            return False
        import fcntl

        try:
            fcntl.ioctl(self._temp.file, _FICLONE, source.fileno())
        except OSError:  # another file system, or one that cannot
            return False
        return True

    def commit(self) -> Blob:
        """Rename the blob into place. Raises OllamaError(400) if the digest is not as expected.

        An existing blob is kept.
        """
        digest = self.digest
        if self._expected not in (None, digest):
            raise OllamaError(400, f'digest mismatch, expected "{self._given}", got "{digest}"')
        target = self._place.blobs / digest.replace(":", "-")
        if target.is_file() and target.stat().st_size == self._size:
            touch(target)
            return Blob(digest, self._size, created=False)
        with writing(f"blob {digest}"):
            self._temp.sync()
            with self._place.placing(digest):
                self._temp.rename(target)
        return Blob(digest, self._size, created=True)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self._temp.discard()


def touch(path: Path) -> None:
    """Make a blob look new: a real Ollama that starts on the store spares young blobs."""
    with contextlib.suppress(OSError):  # it may belong to another user
        os.utime(path)
