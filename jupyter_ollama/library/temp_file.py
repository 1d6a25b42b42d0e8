"""Temporary files: locked by their writer, removed unless they are renamed into place.

They are in separate folders below ``blobs`` and ``manifests``. A real Ollama that starts on the
same store deletes files there whose names are not digests, but keeps folders.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

FOLDER = ".jupyter-ollama"
_ATTEMPTS = 10


def lock(file: IO[bytes], wait: bool = True) -> bool:
    """Lock an open file until it is closed or its process ends; return whether that succeeded.

    It fails on file systems without locks.
    """
    if sys.platform == "win32":  # Windows cannot remove an open file anyway
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


class TempFile:
    """A new file in ``folder``/.jupyter-ollama, open for writing in binary."""

    def __init__(self, folder: Path, suffix: str = ".tmp") -> None:
        self.path, self.file = _create(folder / FOLDER, suffix)

    def sync(self) -> None:
        """Make the content durable and readable for the group and others."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.path.chmod(0o644)

    def rename(self, target: Path) -> None:
        """Rename the file atomically."""
        if sys.platform == "win32":
            self.file.close()
        self.path.replace(target)
        self.file.close()
        sync_folder(target.parent)

    def discard(self) -> None:
        """Remove the file if it still has its temporary name."""
        with contextlib.suppress(OSError):  # flushing fails on a full disk
            self.file.close()
        self.path.unlink(missing_ok=True)


def _create(folder: Path, suffix: str) -> tuple[Path, IO[bytes]]:
    for _ in range(_ATTEMPTS):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{os.getpid()}-{secrets.token_hex(8)}{suffix}"
        try:
            file = path.open("xb")
        except FileNotFoundError:  # Ollama removes empty folders
            continue
        lock(file)
        # Another process may have removed the file as a leftover before it was locked.
        if path.exists():
            return path, file
        file.close()
    raise OSError(f"cannot create a file in {folder}")


def stale_files(folder: Path) -> Iterator[Path]:
    """Yield the files of dead writers, which no process has locked, with a lock on each."""
    for suffix in (".tmp", ".hold"):
        for path in (folder / FOLDER).glob(f"*{suffix}"):
            with contextlib.suppress(OSError), path.open("r+b") as file:
                if lock(file, wait=False):
                    yield path


def remove_stale(folder: Path) -> None:
    """Remove the files of dead writers."""
    for path in stale_files(folder):
        with contextlib.suppress(OSError):
            path.unlink()


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system supports it."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
