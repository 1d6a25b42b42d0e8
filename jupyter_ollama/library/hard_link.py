"""Hard links to files of users, which put their bytes into the store without a copy.

Only read-only files are linked: a change in place would also change the blob. A program that
replaces the file by a new file of the same name does no harm.
"""

from __future__ import annotations

import os
from pathlib import Path

from .regular_file import open_regular
from .store import Store
from .temp_file import FOLDER, lock, sync_folder

_WRITE = 0o222


def is_read_only(path: Path) -> bool:
    """Return whether a file is read-only for all users."""
    return not path.stat().st_mode & _WRITE


def make_read_only(path: Path) -> None:
    """Make a file read-only for all users. Raises OSError."""
    path.chmod(path.stat().st_mode & ~_WRITE)


def link_blob(store: Store, source: Path, digest: str, seen: os.stat_result) -> bool:
    """Link a read-only file as the blob of its digest; return False if that is not possible.

    ``seen`` is the status of the file before its digest was computed.
    """
    target = store.blob_path(digest)
    temp = store.blobs / FOLDER / f"{target.name}-{os.getpid()}.tmp"
    try:
        with open_regular(source) as file:
            lock(file)  # the link must not count as a leftover
            temp.parent.mkdir(exist_ok=True)
            temp.hardlink_to(source.resolve())
            try:
                now = temp.stat()
                if not is_read_only(temp) or not _is_same(now, seen):
                    return False
                os.fsync(file.fileno())
                with store.placing(digest):
                    temp.rename(target)
                sync_folder(target.parent)
            finally:
                temp.unlink(missing_ok=True)
    except OSError:  # another file system, no support for links, or a file of another user
        return False
    return True


def _is_same(now: os.stat_result, seen: os.stat_result) -> bool:
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (
        seen.st_ino,
        seen.st_size,
        seen.st_mtime_ns,
    )
