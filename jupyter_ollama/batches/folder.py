"""The folder of batches: the files of users, written whole or not at all, and its lock."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import OllamaError
from ..library.disk_errors import explained, is_about_disk
from ..library.temp_file import lock, sync_folder

TAKEN = (
    "another server uses the folder of batches, and batches are kept there only: use that "
    "server, or give each its own c.OllamaServer.batch_dir"
)
_SUFFIX = ".part"


class BatchFolder:
    """A folder that one server at a time uses. Only its user can read it."""

    def __init__(self, root: Path) -> None:
        """Create the folder and lock it. Raises OllamaError: 503 if another server has it."""
        self.root = root
        self.files = root / "files"
        with writing():
            self.files.mkdir(parents=True, exist_ok=True, mode=0o700)
            root.chmod(0o700)
            self._lock = (root / "lock").open("wb")
        if not lock(self._lock, wait=False):
            self._lock.close()
            raise OllamaError(503, TAKEN)

    def close(self) -> None:
        """Let another server use the folder."""
        self._lock.close()

    def path(self, file_id: str) -> Path:
        """Return the path of a file's content."""
        return self.files / file_id

    @contextmanager
    def new(self, file_id: str) -> Iterator[IO[bytes]]:
        """Yield a file for the content of ``file_id``, which appears whole at the end of the block.

        Raises OllamaError(500) where the disk does not take it.
        """
        part = self.files / f"{file_id}.{secrets.token_hex(4)}{_SUFFIX}"
        try:
            with writing():
                with open(part, "xb", opener=_private) as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self.path(file_id))
                sync_folder(self.files)
        finally:
            part.unlink(missing_ok=True)

    def remove(self, file_ids: Iterable[str]) -> None:
        """Remove the contents of files."""
        for file_id in file_ids:
            with contextlib.suppress(OSError):
                self.path(file_id).unlink()

    def remove_others(self, known: set[str]) -> None:
        """Remove what no record names: what a kill has left."""
        for path in self.files.iterdir():
            if path.name not in known:
                path.unlink(missing_ok=True)


@contextmanager
def writing() -> Iterator[None]:
    """Turn errors of the disk into OllamaError(500) with advice."""
    try:
        yield
    except OSError as error:
        if not is_about_disk(error):
            raise
        raise explained(error, "a file", "the folder of batches (batch_dir)") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
