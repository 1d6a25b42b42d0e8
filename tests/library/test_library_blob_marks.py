"""Removal of blobs that no manifest names."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_ollama.library import manifest
from jupyter_ollama.library.blob_marks import GRACE_SECONDS
from jupyter_ollama.library.manifest import Layer, Manifest
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store

Snapshot = Callable[[], dict[str, bytes]]

HOLDER = """
import sys
from pathlib import Path
from jupyter_ollama.library.store import Store
with Store(Path(sys.argv[1])).holding() as hold:
    hold(sys.argv[2])
    print("held", flush=True)
    sys.stdin.read()
"""


def name_blobs(store: Store, text: str, *digests: str) -> ModelName:
    """Write a model of existing blobs."""
    layers = [
        Layer(manifest.LICENSE, digest, store.blob_path(digest).stat().st_size)
        for digest in digests
    ]
    name = ModelName.parse(text)
    store.write_manifest(name, Manifest(layers=layers))
    return name


def age(store: Store, digest: str) -> None:
    """Set old times on a blob and its mark."""
    then = time.time() - GRACE_SECONDS - 1
    for path in store.blobs.rglob(f"{digest.replace(':', '-')}*"):
        os.utime(path, (then, then))


def start_holder(store: Store, digest: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(store.root), digest]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_an_upload_that_no_model_names_is_removed_in_time(store: Store) -> None:
    young, old = store.add_blob(b"young").digest, store.add_blob(b"old").digest
    age(store, old)
    Store(store.root).prepare()
    assert store.has_blob(young)
    assert not store.has_blob(old)


def test_an_upload_that_is_used_again_is_young_again(store: Store) -> None:
    digest = store.add_blob(b"x").digest
    age(store, digest)
    assert not store.add_blob(b"x").created
    store.prepare()
    assert store.has_blob(digest)


def test_blobs_of_a_model_are_kept_at_any_age(store: Store, snapshot: Snapshot) -> None:
    digest = store.add_blob(b"x").digest
    name = name_blobs(store, "a", digest)
    age(store, digest)
    store.prepare()
    assert store.has_blob(digest)
    store.delete(name)
    assert snapshot() == {}


def test_blobs_of_others_stay_however_old(store: Store) -> None:
    path = store.blobs / f"sha256-{'b' * 64}"
    path.write_bytes(b"of a real Ollama")
    os.utime(path, (1, 1))
    store.prepare()
    store.delete(name_blobs(store, "a", store.add_blob(b"x").digest))
    assert path.exists()


def test_a_delete_that_was_killed_is_finished_by_the_next_start(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store.add_blob(b"x").digest
    name = name_blobs(store, "a", digest)
    dying = Store(store.root)
    monkeypatch.setattr(dying, "_sweep", lambda: None)  # after the manifest
    dying.delete(name)
    assert store.has_blob(digest)
    store.prepare()
    assert not store.has_blob(digest)


def test_a_delete_beside_an_unreadable_manifest_is_finished_when_it_is_mended(
    store: Store, snapshot: Snapshot
) -> None:
    kept = store.add_blob(b"kept").digest
    other = name_blobs(store, "other", kept)
    before = snapshot()
    name = name_blobs(store, "a", store.add_blob(b"own").digest, kept)
    whole = store.read_manifest_bytes(other)
    store.manifest_path(other).write_text("{")
    store.delete(name)
    store.manifest_path(other).write_bytes(whole)
    store.prepare()
    assert snapshot() == before


def test_blobs_held_by_another_process_survive_a_delete(store: Store) -> None:
    digest = store.add_blob(b"x").digest
    with start_holder(store, digest) as process:
        store.delete(name_blobs(store, "a", digest))
        store.prepare()
        assert store.has_blob(digest)
        assert process.stdin
        process.stdin.close()
        assert process.wait() == 0
    assert not store.has_blob(digest), "who lets go of it last removes it"


def test_blobs_held_by_a_dead_process_are_removed(store: Store, snapshot: Snapshot) -> None:
    digest = store.add_blob(b"x").digest
    with start_holder(store, digest) as process:
        store.delete(name_blobs(store, "a", digest))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert store.has_blob(digest)
    store.prepare()
    assert snapshot() == {}


def test_no_removal_comes_between_a_mark_and_its_blob(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = f"sha256:{hashlib.sha256(b'again').hexdigest()}"
    store.marks.mark(digest, due=True)  # of a removed blob; a kill came before its removal
    upload = threading.Thread(target=Store(store.root).add_blob, args=(b"again",))
    read_manifests = store.used_digests

    def meanwhile() -> set[str] | None:
        upload.start()
        upload.join(0.3)
        return read_manifests()

    monkeypatch.setattr(store, "used_digests", meanwhile)
    store.sweep()
    upload.join()
    assert store.has_blob(digest)
    assert digest in store.marks.digests() - store.marks.due()


def test_a_store_that_cannot_be_written_is_still_read(store: Store) -> None:
    name = name_blobs(store, "a", store.add_blob(b"x").digest)
    age(store, store.add_blob(b"old").digest)
    Path(store.root, ".jupyter-ollama.lock").unlink()
    Path(store.root, ".jupyter-ollama.lock").mkdir()  # unreadable even for root
    store.prepare()
    assert store.names() == [name]
