"""Partial downloads that no pull has continued for a week, of ours and of a real Ollama.

Ollama itself removes all partial downloads of its store at its start.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from pathlib import Path

from .blob_marks import PULL_SECONDS
from .regular_file import NONBLOCKING
from .temp_file import lock

log = logging.getLogger(__name__)

_NAME = re.compile(r"(sha256-[0-9a-f]{64}-partial)(-[0-9]+)?")
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def old_downloads(blobs: Path) -> dict[Path, list[Path]]:
    """Return the files of each download of which none was written for `PULL_SECONDS`.

    The keys are the paths of the data files, which may be missing. None are returned of a folder
    that this user cannot change.
    """
    if not os.access(blobs, os.W_OK):
        return {}
    return {data: files for data, files in _downloads(blobs).items() if all(map(_is_old, files))}


def remove_old_downloads(blobs: Path) -> None:
    """Remove them unless a process is downloading; failures are logged.

    The caller has the lock of the store.
    """
    for data, files in old_downloads(blobs).items():
        try:
            _remove(data, files)
        except FileExistsError:  # a pull has begun
            continue
        except OSError as error:
            log.warning("cannot remove the old download %s: %s", data.name, error)


def _remove(data: Path, files: list[Path]) -> None:
    # A pull locks the data file. If only records are left, a new data file keeps pulls out.
    is_new = data not in files
    flags = os.O_RDWR | NONBLOCKING | _NO_LINK | (os.O_CREAT | os.O_EXCL if is_new else 0)
    with os.fdopen(os.open(data, flags, 0o644), "rb") as file:
        seen = os.fstat(file.fileno())
        if not lock(file, wait=False) or not _is_at(data, seen):
            return
        # Look again: a real Ollama locks nothing.
        now = [path for path in _downloads(data.parent).get(data, []) if path != data or not is_new]
        is_old = now == files and all(map(_is_old, files))
        if is_old:
            for path in files:
                if path != data:
                    path.unlink()
        if os.name == "nt":
            file.close()
        if is_old or (is_new and data.stat().st_size == 0):
            data.unlink()


def _downloads(blobs: Path) -> dict[Path, list[Path]]:
    found: dict[Path, list[Path]] = {}
    try:
        paths = sorted(blobs.iterdir())
    except OSError as error:
        log.warning("cannot look for old downloads: %s", error)
        return {}
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match:
            found.setdefault(blobs / match[1], []).append(path)
    return found


def _is_old(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:  # a pull has just removed it
        return False
    return stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > PULL_SECONDS


def _is_at(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), status)
    except FileNotFoundError:
        return False
