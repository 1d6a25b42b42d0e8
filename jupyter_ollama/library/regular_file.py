"""Opening files that other users may have planted: a FIFO or a device must not block us.

Other than regular files are refused before opening, because opening a device may have effects,
and again after opening, because the file may have been replaced in between.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_SMALL = 64 * 2**20
"""The most bytes of a file that is read at once, such as a manifest, config or template."""

NONBLOCKING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""Flags with which opening a file never blocks."""

_BINARY = getattr(os, "O_BINARY", 0)


class NotRegularFile(OSError):
    """A FIFO, a socket, a device or a dangling link."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, links followed. Raises OSError, also for irregular files."""
    _check(path, _status(path))
    descriptor = os.open(path, os.O_RDONLY | NONBLOCKING | _BINARY)
    try:
        _check(path, os.fstat(descriptor))
        if hasattr(os, "set_blocking"):
            os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int = MAX_SMALL) -> bytes:
    """Return the content of a file of at most ``most`` bytes. Raises OSError."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data


def open_lock(path: Path) -> BinaryIO:
    """Open a lock file, creating it if necessary. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | NONBLOCKING | _BINARY
    descriptor = os.open(path, flags, 0o666)
    try:
        _check(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "ab")
    except BaseException:
        os.close(descriptor)
        raise


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotRegularFile(error.errno, error.strerror, str(path)) from None
        raise


def _check(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularFile(errno.EINVAL, "not a regular file", str(path))
