"""Files as the blobs of a server: their digests, and their content in pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

PIECE = 2**20
"""Bytes read at a time."""


def pieces(file: Path, done: Callable[[int], None] = lambda count: None) -> Iterator[bytes]:
    """Yield the content of a file; call ``done`` with the number of bytes of each piece."""
    with file.open("rb") as source:
        while piece := source.read(PIECE):
            done(len(piece))
            yield piece


def digest(file: Path, done: Callable[[int], None] = lambda count: None) -> str:
    """Return ``sha256:…`` of a file; call ``done`` with the number of bytes of each piece."""
    found = hashlib.sha256()
    for piece in pieces(file, done):
        found.update(piece)
    return f"sha256:{found.hexdigest()}"
