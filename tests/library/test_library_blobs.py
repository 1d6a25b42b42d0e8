"""Blobs: written atomically, verified, and safe from cleaning."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from peers import digest_of

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.store import Store

Snapshot = Callable[[], dict[str, bytes]]

WRITER = """
import sys, time
from pathlib import Path
from jupyter_ollama.library.store import Store
with Store(Path(sys.argv[1])).blob_writer() as writer:
    writer.write(b"half")
    print(writer.path, flush=True)
    time.sleep(60)
"""


def test_blob_appears_whole(store: Store) -> None:
    with store.blob_writer(digest_of(b"hello")) as writer:
        writer.write(b"hel")
        writer.write(memoryview(b"lo"))
        assert not store.has_blob(digest_of(b"hello"))
        blob = writer.commit()
    assert blob == (digest_of(b"hello"), 5, True)
    path = store.blob_path(blob.digest)
    assert path.read_bytes() == b"hello"
    assert re.fullmatch(r"sha256-[0-9a-f]{64}", path.name)
    assert path.stat().st_mode & 0o777 == 0o644


def test_given_digest_may_be_written_differently(store: Store) -> None:
    digest = digest_of(b"x")
    with store.blob_writer(digest.replace(":", "-").upper().replace("SHA", "sha")) as writer:
        writer.write(b"x")
        assert writer.commit().digest == digest
    assert store.has_blob(digest.upper().replace("SHA", "sha"))


def test_mismatch_leaves_nothing(store: Store, snapshot: Snapshot) -> None:
    expected, got = digest_of(b"a"), digest_of(b"b")
    with store.blob_writer(expected) as writer:
        writer.write(b"b")
        with pytest.raises(OllamaError) as caught:
            writer.commit()
    assert caught.value.status == 400
    assert caught.value.message == f'digest mismatch, expected "{expected}", got "{got}"'
    assert snapshot() == {}


def test_abandoned_blob_leaves_nothing(store: Store, snapshot: Snapshot) -> None:
    with store.blob_writer() as writer:
        writer.write(b"a")
        assert writer.path.exists()
    assert snapshot() == {}


@pytest.mark.parametrize(
    "digest",
    ["", "x", "sha256:", "sha256:" + "0" * 63, "sha256:" + "g" * 64, "sha256-../../etc/passwd"],
)
def test_faulty_digests(store: Store, digest: str) -> None:
    with pytest.raises(OllamaError, match="invalid digest format") as caught:
        store.blob_path(digest)
    assert caught.value.status == 400


def test_existing_blob_is_kept_and_a_short_one_is_mended(store: Store) -> None:
    first = store.add_blob(b"content")
    path = store.blob_path(first.digest)
    os.utime(path, (0, 0))
    inode = path.stat().st_ino
    assert store.add_blob(b"content") == (first.digest, 7, False)
    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > 0  # a real Ollama spares young blobs
    path.write_bytes(b"con")
    assert store.add_blob(b"content").created
    assert path.read_bytes() == b"content"


def test_concurrent_writers_of_one_blob_all_succeed(store: Store) -> None:
    data = os.urandom(100_000)
    start, results = threading.Barrier(8), []

    def write() -> None:
        with store.blob_writer(digest_of(data)) as writer:
            start.wait()
            writer.write(data)
            results.append(writer.commit().digest)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [digest_of(data)] * 8
    assert store.blob_path(digest_of(data)).read_bytes() == data
    assert not list(store.blobs.rglob("*.tmp"))


def test_the_next_start_removes_leftovers_of_a_killed_writer(store: Store) -> None:
    command = [sys.executable, "-c", WRITER, str(store.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        path = Path(process.stdout.readline().strip())
        Store(store.root).prepare()
        assert path.exists(), "the file of a living writer was removed"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.exists()
    Store(store.root).prepare()
    assert not path.exists()


def test_temporary_files_are_safe_from_ollamas_own_cleaning(store: Store) -> None:
    # Ollama removes files in blobs whose names are not digests, and lists files at depth four.
    with store.blob_writer() as writer:
        assert writer.path.parent.parent == store.blobs
    assert len(writer.path.relative_to(store.blobs).parts) == 2
