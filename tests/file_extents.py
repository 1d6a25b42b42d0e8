"""Where the bytes of files are on the disk: files that share them do so by reflinks (Linux)."""

from __future__ import annotations

import fcntl
import struct
from pathlib import Path
from typing import NamedTuple

_FIEMAP = 0xC020660B
_SYNC, _SHARED = 0x1, 0x2000
_HEADER, _EXTENT = "=QQIIII", "=QQQQQIIII"
_MOST = 500


class Extent(NamedTuple):
    """Bytes in a row on the disk, and whether another file has them too."""

    physical: int
    length: int
    shared: bool


def extents(path: Path) -> list[Extent]:
    """Return the extents of a file. Raises OSError where the file system does not say."""
    size = struct.calcsize(_EXTENT)
    head = struct.pack(_HEADER, 0, 2**64 - 1, _SYNC, 0, _MOST, 0)
    buffer = bytearray(head) + bytes(_MOST * size)
    with path.open("rb") as file:
        fcntl.ioctl(file, _FIEMAP, buffer)
    count = struct.unpack_from(_HEADER, buffer)[3]
    assert 0 < count < _MOST
    rows = [struct.unpack_from(_EXTENT, buffer, len(head) + n * size) for n in range(count)]
    return [Extent(row[1], row[2], bool(row[5] & _SHARED)) for row in rows]


def are_reflinks(one: Path, other: Path) -> bool:
    """Return whether two files have all their bytes at the same places of the disk."""
    found = extents(one)
    return (
        not one.samefile(other)
        and found == extents(other)
        and all(extent.shared for extent in found)
    )
