"""The folder of kept system prompts: its bound, its rights, and disks that take no more."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from small_disk import Disk, MadeUpDisk, small_disk

from jupyter_ollama.engine.account_trees import SystemPrefix
from jupyter_ollama.engine.prefix_files import PrefixFiles, StateKey

KEY = StateKey("0" * 16, "1" * 16)
MIB = 2**20


def prompt(name: str, scope: str = "owner") -> SystemPrefix:
    return SystemPrefix(name.encode(), 600, 0, scope)


def write(files: PrefixFiles, name: str, size: int = MIB, age: float = 0.0) -> Path:
    """Write the file of a system prompt, last used ``age`` seconds ago."""
    tokens = list(name.encode())
    files.write(prompt(name), tokens, [np.zeros(size // 2, np.uint8)] * 2)
    path = files_of(files)[files.name(prompt(name))]
    os.utime(path, (time.time() - age,) * 2)
    return path


def files_of(files: PrefixFiles) -> dict[str, Path]:
    return {path.name: path for path in files._folder.iterdir()}


def test_the_least_recently_used_ones_leave(tmp_path: Path) -> None:
    files = PrefixFiles(tmp_path / "prefixes", KEY, 3 * MIB + 10_000)
    # The bound is that of all models.
    others = PrefixFiles(tmp_path / "prefixes", StateKey("2" * 16, "1" * 16), 3 * MIB + 10_000)
    paths = [
        write(one, name, age=9 - n)
        for n, (one, name) in enumerate([(files, "a"), (others, "b"), (files, "c")])
    ]
    assert all(path.exists() for path in paths)
    assert files.read(prompt("a"), list(b"a"))
    write(files, "d")
    assert [path.exists() for path in paths] == [True, False, True]
    files.touch(prompt("c"))
    os.utime(paths[0], (time.time() - 5,) * 2)
    write(files, "e")
    assert [path.exists() for path in paths] == [False, False, True]
    # A start with a lower bound applies it.
    PrefixFiles(tmp_path / "prefixes", KEY, 2 * MIB)
    assert len(files_of(files)) == 1


def test_one_that_is_too_large_makes_no_space(tmp_path: Path) -> None:
    files = PrefixFiles(tmp_path / "prefixes", KEY, 3 * MIB)
    path = write(files, "a")
    files.write(prompt("b"), [1], [np.zeros(3 * MIB, np.uint8)])
    assert list(files_of(files).values()) == [path]
    assert not files.has(prompt("b"))


def test_other_prompts_and_scopes_have_other_files(tmp_path: Path) -> None:
    files = PrefixFiles(tmp_path / "prefixes", KEY, 9 * MIB)
    write(files, "a")
    assert files.has(prompt("a"))
    assert not files.has(prompt("a", "all"))
    assert not files.has(prompt("b"))
    # Nor does a file pass for another one under its name.
    path = files_of(files)[files.name(prompt("a"))]
    path.rename(path.parent / files.name(prompt("a", "all")))
    again = PrefixFiles(tmp_path / "prefixes", KEY, 9 * MIB)
    assert again.has(prompt("a", "all"))
    assert again.read(prompt("a", "all"), list(b"a")) is None
    assert not files_of(again)


def test_another_process_may_remove_a_file(tmp_path: Path) -> None:
    files = PrefixFiles(tmp_path / "prefixes", KEY, 9 * MIB)
    for way in (lambda: files.touch(prompt("a")), lambda: files.read(prompt("a"), list(b"a"))):
        write(files, "a").unlink()
        assert files.has(prompt("a"))
        assert not way()
        assert not files.has(prompt("a"))


def test_only_files_of_its_own_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "prefixes"
    folder.mkdir(mode=0o700)
    names = ("notes.txt", "my.prefix", "a.prefix-part", f"{'0' * 16}.prefix-part")
    for name in names:
        (folder / name).write_bytes(bytes(2 * MIB))
        os.utime(folder / name, (1, 1))
    (folder / f"{'1' * 16}.prefix-part").touch()
    write(PrefixFiles(folder, KEY, MIB + 1000), "a")
    left = {path.name for path in folder.iterdir()}
    assert {*names[:3], f"{'1' * 16}.prefix-part"} < left
    assert len(left) == 5


def test_a_folder_that_others_can_open_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with pytest.raises(PermissionError, match="0700"):
        PrefixFiles(tmp_path, KEY, MIB)


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "disk", 4 * MIB, monkeypatch) as disk:
        if isinstance(disk, MadeUpDisk):
            pytest.skip("no file system can be mounted here")
        fill(disk)


def fill(disk: Disk) -> None:
    files = PrefixFiles(disk.path / "prefixes", KEY, 100 * MIB)
    path = write(files, "a", 3 * MIB)
    with pytest.raises(OSError, match="No space left"):
        files.write(prompt("b"), [1], [np.zeros(3 * MIB, np.uint8)])
    assert list(files_of(files).values()) == [path]
    assert not files.has(prompt("b"))
