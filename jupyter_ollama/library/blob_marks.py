"""Marks on blobs without a manifest that we may remove: an empty file beside each.

All other blobs may belong to a real Ollama that shares the store.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from .temp_file import FOLDER

GRACE_SECONDS = 3600.0
"""Seconds that an upload or an intermediate layer may exist before a manifest names it."""

PULL_SECONDS = 7 * 24 * 3600.0
"""Seconds that blobs and partial downloads of an interrupted pull are kept for the next one."""

_SUFFIX = ".loose"


class BlobMarks:
    """The marks of a folder of blobs. A mark of the year 1970 is due at once.

    A mark of the future keeps its blob for longer than `GRACE_SECONDS`.
    """

    def __init__(self, blobs: Path) -> None:
        self._blobs = blobs
        self._folder = blobs / FOLDER

    def mark(self, digest: str, *, due: bool = False, seconds: float = GRACE_SECONDS) -> None:
        """Mark a blob as ours.

        It may be removed after ``seconds`` without a manifest, at once if ``due``, which says that
        no manifest will name it again.
        """
        path = self._path(digest)
        try:
            path.touch()
        except FileNotFoundError:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.touch()
        if due or seconds != GRACE_SECONDS:
            moment = 0.0 if due else time.time() + seconds - GRACE_SECONDS
            os.utime(path, (moment, moment))

    def drop(self, digest: str) -> None:
        """Remove the mark of a blob that a manifest names, or that was removed."""
        self._path(digest).unlink(missing_ok=True)

    def digests(self) -> set[str]:
        """Return the digests of all marked blobs."""
        names = (path.stem for path in self._folder.glob(f"*{_SUFFIX}"))
        return {name.replace("-", ":", 1) for name in names}

    def due(self) -> set[str]:
        """Return the digests of the blobs that may be removed now."""
        return {digest for digest in self.digests() if self._is_due(digest)}

    def _is_due(self, digest: str) -> bool:
        try:
            marked = self._path(digest).stat().st_mtime
            blob = self._blobs / digest.replace(":", "-")
            written = blob.stat().st_mtime if marked and blob.exists() else 0.0
        except FileNotFoundError:
            return False
        return time.time() - max(marked, written) > GRACE_SECONDS

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest.replace(':', '-')}{_SUFFIX}"
