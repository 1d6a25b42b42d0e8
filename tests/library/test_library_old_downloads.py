"""Removal of partial downloads that no pull has continued for a week."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from jupyter_ollama.library import old_downloads
from jupyter_ollama.library.blob_marks import PULL_SECONDS
from jupyter_ollama.library.check import Leftovers
from jupyter_ollama.library.store import Store
from jupyter_ollama.library.temp_file import lock
from jupyter_ollama.registry.partial import PartialBlob
from jupyter_ollama.registry.transfer_policy import TransferPolicy

DIGEST = f"sha256:{'d' * 64}"
TOTAL = 1000

PULLER = """
import sys
from pathlib import Path
from jupyter_ollama.library.store import Store
from jupyter_ollama.registry.partial import PartialBlob
from jupyter_ollama.registry.transfer_policy import TransferPolicy
blob = PartialBlob.open(Store(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), TransferPolicy())
print(blob.completed, flush=True)
sys.stdin.read()
"""


def leave(store: Store, digest: str = DIGEST, parts: int = 2) -> list[Path]:
    """Write the files of a download that ended a minute more than a week ago."""
    data = Path(f"{store.blob_path(digest)}-partial")
    data.write_bytes(b"x" * (TOTAL // 2) + bytes(TOTAL // 2))
    files, size = [data], TOTAL // parts
    for n in range(parts):
        record = {"N": n, "Offset": n * size, "Size": size, "Completed": 0 if n else size}
        files.append(Path(f"{data}-{n}"))
        files[-1].write_text(json.dumps(record))
    age(*files)
    return files


def age(*files: Path, seconds: float = PULL_SECONDS + 60) -> None:
    then = time.time() - seconds
    for path in files:
        os.utime(path, (then, then), follow_symlinks=False)


def test_a_download_that_ended_a_week_ago_is_removed(store: Store) -> None:
    before = sorted(store.blobs.iterdir())
    files = leave(store)
    assert sorted(Leftovers(store).ours) == files
    Store(store.root).prepare()
    assert sorted(store.blobs.iterdir()) == before


def test_the_end_of_a_pull_or_a_creation_removes_it_too(store: Store) -> None:
    files = leave(store)
    digest = store.add_blob(b"x").digest
    with store.holding() as hold:
        hold(digest)
    assert not any(path.exists() for path in files)
    assert store.has_blob(digest)


@pytest.mark.parametrize("young", [0, 1, 2])
def test_a_young_file_keeps_the_whole_download(store: Store, young: int) -> None:
    files = leave(store)
    age(files[young], seconds=PULL_SECONDS - 60)
    store.prepare()
    assert all(path.exists() for path in files)
    left = Leftovers(store)
    assert (left.ours, sorted(left.others)) == ([], files)


def test_each_download_has_its_own_age(store: Store) -> None:
    old, young = leave(store), leave(store, f"sha256:{'e' * 64}")
    age(young[-1], seconds=60)
    store.prepare()
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in young)


def test_a_download_of_another_process_stays_at_any_age(store: Store) -> None:
    files = leave(store)
    command = [sys.executable, "-c", PULLER, str(store.root), DIGEST, str(TOTAL)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == f"{TOTAL // 2}\n"
        age(*files)
        store.prepare()
        assert all(path.exists() for path in files)
        process.kill()
    store.prepare()
    assert not any(path.exists() for path in files)


def test_files_with_other_names_or_of_other_kinds_stay(store: Store, tmp_path: Path) -> None:
    (tmp_path / "user").write_bytes(b"x")
    hexadecimal = "d" * 64
    names = [
        f"sha256-{hexadecimal}",
        f"sha256-{hexadecimal}-partial-x",
        f"sha256-{hexadecimal}-partial-0.txt",
        f"sha256-{hexadecimal}-partial.old",
        f"sha256-{hexadecimal[1:]}-partial",
        f"sha256-{hexadecimal[1:]}G-partial",
        f"md5-{hexadecimal}-partial",
        "notes-partial-1",
    ]
    kept = [store.blobs / name for name in names]
    for path in kept:
        path.write_bytes(b"x")
    folder, link = (store.blobs / f"sha256-{letter * 64}-partial" for letter in "ab")
    folder.mkdir()
    link.symlink_to(tmp_path / "user")
    fifo = store.blobs / f"sha256-{'c' * 64}-partial"
    os.mkfifo(fifo)
    kept += [folder, link, fifo, tmp_path / "user"]
    age(*kept)
    removed = leave(store)
    mixed = leave(store, f"sha256:{'e' * 64}")
    mixed[1].unlink()
    mixed[1].symlink_to(tmp_path / "user")
    age(mixed[1])
    kept += mixed
    store.prepare()
    assert not any(path.exists() for path in removed)
    assert all(os.path.lexists(path) for path in kept)


@pytest.mark.parametrize("written", [0, 2, 3])
def test_a_file_written_before_the_removal_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    files = leave(store)
    files.append(files[0].with_name(f"{files[0].name}-{len(files) - 1}"))

    def meanwhile(file: IO[bytes], wait: bool = True) -> bool:
        with files[written].open("ab") as opened:  # as a real Ollama does
            opened.write(b" ")
        return lock(file, wait)

    monkeypatch.setattr(old_downloads, "lock", meanwhile)
    store.prepare()
    assert all(path.exists() for path in files[:3])
    assert files[written].exists()


def test_records_alone_are_removed(store: Store) -> None:
    data, *records = leave(store)
    data.unlink()
    before = set(store.blobs.iterdir()) - set(records)
    store.prepare()
    assert set(store.blobs.iterdir()) == before


def test_a_pull_that_begins_among_records_alone_keeps_its_own(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, *records = leave(store)
    data.unlink()
    look, pulls = old_downloads.old_downloads, []

    def meanwhile(blobs: Path) -> dict[Path, list[Path]]:
        found = look(blobs)
        pulls.append(PartialBlob.open(store, DIGEST, TOTAL, TransferPolicy()))
        return found

    monkeypatch.setattr(old_downloads, "old_downloads", meanwhile)
    store.prepare()
    (pull,) = pulls
    assert pull
    assert data.stat().st_size == TOTAL
    assert records[0].exists()
    pull.discard()


def test_records_written_anew_before_the_removal_leave_no_data_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, *records = leave(store)
    data.unlink()

    def meanwhile(file: IO[bytes], wait: bool = True) -> bool:
        records[1].write_bytes(b"{}")
        return lock(file, wait)

    monkeypatch.setattr(old_downloads, "lock", meanwhile)
    store.prepare()
    assert all(path.exists() for path in records)
    assert not data.exists()


def test_a_failed_removal_is_logged(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = leave(store)
    other = leave(store, f"sha256:{'e' * 64}")
    remove = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path in files:
            raise PermissionError(1, "Operation not permitted", str(path))
        remove(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    store.prepare()
    assert all(path.exists() for path in files)
    assert not any(path.exists() for path in other)
    assert f"cannot remove the old download {files[0].name}: " in caplog.text


def test_a_folder_of_another_user_is_not_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    files = leave(store)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    store.prepare()
    assert all(path.exists() for path in files)
    assert caplog.text == ""
