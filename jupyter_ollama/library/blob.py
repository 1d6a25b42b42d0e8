"""Writing one blob: hashed on the way, verified, and renamed into place."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from ..errors import OllamaError
from .temp_file import TempFile


class Blob(NamedTuple):
    """A stored blob: its digest, its size in bytes, and whether this write created it."""

    digest: str
    size: int
    created: bool


class BlobWriter:
    """A context manager around a blob that is being written; without commit nothing stays."""

    def __init__(self, folder: Path, given: str | None, expected: str | None) -> None:
        self._folder = folder
        self._given = given
        self._expected = expected
        self._hash = hashlib.sha256()
        self._size = 0
        self._temp = TempFile(folder)

    @property
    def path(self) -> Path:
        """The temporary file, for another process to fill; see ``adopt``."""
        return self._temp.path

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        self._temp.file.write(data)
        self._hash.update(data)
        self._size += len(data)

    def adopt(self) -> None:
        """Take over what another process wrote to ``path``."""
        with self.path.open("rb") as file:
            self._size = os.fstat(file.fileno()).st_size
            self._hash = hashlib.file_digest(file, "sha256")

    def commit(self) -> Blob:
        """Put the blob in its place. Raises OllamaError(400) if the digest is not as expected.

        A blob that is already there is kept.
        """
        digest = f"sha256:{self._hash.hexdigest()}"
        if self._expected not in (None, digest):
            raise OllamaError(400, f'digest mismatch, expected "{self._given}", got "{digest}"')
        target = self._folder / digest.replace(":", "-")
        if target.is_file() and target.stat().st_size == self._size:
            touch(target)
            return Blob(digest, self._size, created=False)
        self._temp.sync()
        self._temp.rename(target)
        return Blob(digest, self._size, created=True)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._temp.discard()


def touch(path: Path) -> None:
    """Make a blob look new: a real Ollama that starts on the store spares young blobs."""
    with contextlib.suppress(OSError):  # it may belong to another user
        os.utime(path)
