"""Disks that are full or read-only: a small file system of memory, or, without the right to mount
one, files that lead to /dev/full and calls that fail as on a read-only disk. And one with reflinks.
"""

from __future__ import annotations

import errno
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_ollama.library import temp_file
from jupyter_ollama.registry.partial import PartialBlob

MIB = 2**20


class Disk:
    """A mounted file system of its own at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, left: int = 0) -> None:
        """Leave so many bytes of space."""
        assert self.path.is_mount()
        with self._filler.open("ab", buffering=0) as file:
            with suppress(OSError):
                while True:
                    file.write(b"x" * 4096)
            file.truncate(self._filler.stat().st_size - left)

    def free(self) -> None:
        """Free the space."""
        self._filler.unlink()

    def make_read_only(self) -> None:
        """Make the file system read-only."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)


class MadeUpDisk(Disk):
    """A folder whose new files lead to /dev/full, or cannot be made at all."""

    def __init__(self, path: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(path)
        self._patch = patch

    def fill(self, left: int = 0) -> None:
        create = temp_file._create

        def to_full(folder: Path, suffix: str) -> tuple[Path, Any]:
            made, file = create(folder, suffix)
            if suffix == ".tmp" and self.path in made.parents:
                file.close()
                made.unlink()
                made.symlink_to("/dev/full")
                file = made.open("wb")
            return made, file

        def write(partial: Any, part: Any, data: bytes) -> None:
            Path("/dev/full").write_bytes(data)

        self._patch.setattr(temp_file, "_create", to_full)
        self._patch.setattr(PartialBlob, "write", write)

    def free(self) -> None:
        self._patch.undo()

    def make_read_only(self) -> None:
        real_open, real_os_open = pathlib.Path.open, os.open

        def check(path: Any) -> None:
            if Path(path).is_relative_to(self.path):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        def opened(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if set(mode) & set("xaw+"):
                check(path)
            return real_open(path, mode, *rest, **more)

        def os_opened(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                check(path)
            return real_os_open(path, flags, *rest, **more)

        self._patch.setattr(pathlib.Path, "open", opened)
        self._patch.setattr(os, "open", os_opened)
        for name in ("touch", "unlink", "rename", "replace"):
            self._patch.setattr(pathlib.Path, name, lambda path, *rest, **more: check(path))
        make = pathlib.Path.mkdir
        self._patch.setattr(
            pathlib.Path,
            "mkdir",
            lambda path, *rest, **more: path.exists() or check(path) or make(path, *rest, **more),
        )
        real_statvfs = os.statvfs

        def statvfs(path: Any) -> Any:
            found = real_statvfs(path)
            names = ("f_frsize", "f_blocks", "f_bfree", "f_bavail")
            same = {name: getattr(found, name) for name in names}
            return SimpleNamespace(**same, f_flag=os.ST_RDONLY)

        self._patch.setattr(os, "statvfs", statvfs)


@contextmanager
def small_disk(folder: Path, size: int, patch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """Mount a file system of ``size`` bytes at a new folder."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.geteuid() or subprocess.run(["mount", *options], stderr=subprocess.DEVNULL).returncode:
        yield MadeUpDisk(folder, patch)
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def reflink_disk(folder: Path) -> Iterator[Disk]:
    """Mount a new Btrfs at a new folder; skip the test where that is not possible."""
    if os.geteuid():
        pytest.skip("only root may mount a file system")
    if not shutil.which("mkfs.btrfs"):
        pytest.skip("this test needs Btrfs: apt-get install btrfs-progs")
    folder.mkdir()
    image = folder.with_name(f"{folder.name}.img")
    with image.open("wb") as file:
        file.truncate(300 * MIB)
    try:
        subprocess.run(["mkfs.btrfs", "--quiet", str(image)], check=True, capture_output=True)
        if subprocess.run(["mount", "-o", "loop", str(image), str(folder)]).returncode:
            pytest.skip("no file system can be mounted here")
        try:
            yield Disk(folder)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
    finally:
        image.unlink()
