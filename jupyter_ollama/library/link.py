"""Hard links to files of users: their bytes are in the store without being copied.

Both names lead to the same bytes, so only a file that nobody may write is linked: a change in place
would change the blob, too. A program that replaces the file by a new one of its name does no harm.
"""

from __future__ import annotations

import os
from pathlib import Path

from .store import Store
from .temp_file import FOLDER, lock, sync_folder

_WRITE = 0o222


def is_read_only(path: Path) -> bool:
    """Tell whether nobody has the right to write a file."""
    return not path.stat().st_mode & _WRITE


def make_read_only(path: Path) -> None:
    """Take the right to write a file from everybody. Raises OSError."""
    path.chmod(path.stat().st_mode & ~_WRITE)


def link_blob(store: Store, source: Path, digest: str, seen: os.stat_result) -> bool:
    """Make a read-only file the blob of its digest; False where that cannot be done.

    ``seen`` is the state of the file from before its digest was computed.
    """
    target = store.blob_path(digest)
    temp = store.blobs / FOLDER / f"{target.name}-{os.getpid()}.tmp"
    try:
        with source.open("rb") as file:
            lock(file)  # the link is no leftover
            temp.parent.mkdir(exist_ok=True)
            temp.hardlink_to(source.resolve())
            try:
                now = temp.stat()
                if not is_read_only(temp) or not _is_same(now, seen):
                    return False
                os.fsync(file.fileno())
                store.loose.mark(digest)
                temp.rename(target)
                sync_folder(target.parent)
            finally:
                temp.unlink(missing_ok=True)
    except OSError:  # another file system, one without links, or a file of somebody else
        return False
    return True


def _is_same(now: os.stat_result, seen: os.stat_result) -> bool:
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (
        seen.st_ino,
        seen.st_size,
        seen.st_mtime_ns,
    )
