"""The conversations of JupyterLab's chat panel, one file each."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

MAX_BYTES = 2**20
"""The longest file of a conversation."""
MAX_COUNT = 100
"""The number of conversations that are kept for a user."""
MAX_TOTAL = 10 * 2**20
"""The bytes of all conversations that are kept for a user."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{7,63}")


class StaleError(Exception):
    """The file has changed since the page has read it."""


class ConversationFiles:
    """The conversations of one user: ``NAME.json`` in a folder that only this user reads.

    A conversation is a JSON object with the number ``revision``, which each write raises by one.
    The page defines the rest of the object.
    """

    def __init__(self, folder: Path, user: str) -> None:
        # A name of a user may have any character.
        self._folder = folder / sha256(user.encode()).hexdigest()[:16]
        self._lock = threading.Lock()

    def read_all(self) -> list[Any]:
        """Return the conversations, those written last first; unreadable files are left out."""
        found = []
        for path, _ in self._files():
            with suppress(OSError, orjson.JSONDecodeError):
                found.append(orjson.loads(path.read_bytes()))
        return found

    def write(self, name: str, body: bytes) -> None:
        """Write a conversation, and delete the oldest ones beyond the bounds.

        Raises ValueError if the body is no conversation of this name, StaleError if another page
        has written a revision that this one does not follow, OSError if the disk refuses.
        """
        value = orjson.loads(body)
        revision = value.get("revision") if isinstance(value, dict) else None
        if type(revision) is not int or value.get("id") != name:
            raise ValueError("a conversation has its id and a revision")
        with self._lock:
            path = self._path(name)
            written = self._revision(path)
            if written is not None and written != revision - 1:
                raise StaleError(name)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = path.with_name(f".{name}.{uuid4().hex}")
            try:
                part.touch(mode=0o600)
                part.write_bytes(body)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            self._drop_oldest()

    def delete(self, name: str) -> None:
        """Delete a conversation, if it exists."""
        with self._lock:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _revision(self, path: Path) -> int | None:
        """Return the revision of a file; None if there is none, or if any write may replace it."""
        try:
            value = orjson.loads(path.read_bytes())
            return int(value["revision"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _files(self) -> list[tuple[Path, int]]:
        """Return the files and their sizes, those written last first."""
        found = []
        for path in self._folder.glob("[!.]*.json"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, path, status.st_size))
        return [(path, size) for _, path, size in sorted(found, reverse=True)]

    def _drop_oldest(self) -> None:
        total = 0
        for count, (path, size) in enumerate(self._files(), 1):
            total += size
            if count > MAX_COUNT or total > MAX_TOTAL:
                path.unlink(missing_ok=True)
