"""Cached listings of folders, read anew only when a folder has changed."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

_SAME_TICK_NS = 2_000_000_000
"""Nanoseconds: changes of a folder within this time may have equal timestamps."""


class Entry(NamedTuple):
    """An entry of a folder; links are followed."""

    name: str
    path: str
    is_folder: bool


class Folders:
    """The contents of folders: every list of models stats hundreds of them.

    Paths are plain strings, with which that takes two thirds of the time.
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
            entries = [Entry(entry.name, entry.path, _is_folder(entry)) for entry in found]
        if time.time_ns() - changed > _SAME_TICK_NS:
            self._known[folder] = (changed, entries)
        return entries


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
