"""Listings of folders that are read anew only when a folder has changed."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

_SAME_TICK_NS = 2_000_000_000
"""Changes of a folder so close to each other may bear the same time."""


class Entry(NamedTuple):
    """A file or folder in a folder; links count as what they lead to."""

    name: str
    path: str
    is_folder: bool


class Folders:
    """What is in some folders: hundreds of them are looked at whenever models are listed.

    Paths are plain strings, for which the system's answers come in two thirds of the time.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, list[Entry]]] = {}

    def entries(self, folder: str) -> list[Entry]:
        """List a folder. Raises OSError."""
        changed = os.stat(folder).st_mtime_ns  # noqa: PTH116
        known = self._known.get(folder)
        if known is not None and known[0] == changed:
            return known[1]
        with os.scandir(folder) as found:
            entries = [Entry(entry.name, entry.path, entry.is_dir()) for entry in found]
        if time.time_ns() - changed > _SAME_TICK_NS:
            self._known[folder] = (changed, entries)
        return entries
