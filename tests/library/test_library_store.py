"""The store: atomic, shared, and careful about what it removes."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library import manifest
from jupyter_ollama.library.manifest import InvalidManifest, Layer, Manifest
from jupyter_ollama.library.name import ModelName
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


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def add_model(store: Store, text: str, *contents: bytes) -> ModelName:
    """Write a model with a layer of each content."""
    layers = [Layer(manifest.LICENSE, store.add_blob(data).digest, len(data)) for data in contents]
    config = store.add_blob(b'{"model_format":"gguf"}')
    name = ModelName.parse(text)
    written = Manifest(config=Layer(manifest.CONFIG, config.digest, config.size), layers=layers)
    store.write_manifest(name, written)
    return name


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


def test_killed_writer_leaves_what_the_next_start_removes(store: Store) -> None:
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
    # Ollama removes files in blobs that are no digests, and takes files in fourth place for models.
    with store.blob_writer() as writer:
        assert writer.path.parent.parent == store.blobs
    assert len(writer.path.relative_to(store.blobs).parts) == 2


def test_prepare_mends_old_names_and_prunes_nothing(store: Store) -> None:
    old = store.blobs / f"sha256:{'a' * 64}"
    others = [
        store.blobs / f"sha256-{'b' * 64}",
        store.blobs / f"sha256-{'c' * 64}-partial",
        store.blobs / f"sha256-{'c' * 64}-partial-0",
        store.blobs / "sha256-12345",
    ]
    for path in (old, *others):
        path.write_bytes(b"x")
    store.prepare()
    assert store.has_blob(f"sha256:{'a' * 64}")
    assert not old.exists()
    assert all(path.exists() for path in others)


def test_names_and_case(store: Store) -> None:
    add_model(store, "LLaMA3:8B")
    add_model(store, "me/other")
    assert [name.display for name in store.names()] == ["LLaMA3:8B", "me/other:latest"]
    assert store.resolve(ModelName.parse("llama3:8b")) == ModelName.parse("LLaMA3:8B")
    assert store.resolve(ModelName.parse("llama3")) is None
    assert store.canonical(ModelName.parse("llama3:New")) == ModelName.parse("LLaMA3:New")
    assert store.canonical(ModelName.parse("unheard")) == ModelName.parse("unheard")


def test_two_casings_of_one_name_are_both_found(store: Store) -> None:
    add_model(store, "Twin:a")
    add_model(store, "twin:b")
    assert store.resolve(ModelName.parse("TWIN:B")) == ModelName.parse("twin:b")
    assert store.resolve(ModelName.parse("TWIN:A")) == ModelName.parse("Twin:a")


def test_stray_files_are_no_models(store: Store) -> None:
    add_model(store, "a")
    (store.manifests / ".DS_Store").write_text("x")
    (store.manifests / "registry.ollama.ai/library/a/.DS_Store").write_text("x")
    (store.manifests / "registry.ollama.ai/library/file").write_text("x")
    (store.manifests / "registry.ollama.ai/library/a/folder").mkdir()
    assert [name.display for name in store.names()] == ["a:latest"]


def test_manifest_is_kept_as_received(store: Store) -> None:
    add_model(store, "a", b"1")
    data = store.read_manifest_bytes(ModelName.parse("a")).replace(b",", b" ,\n")
    store.write_manifest(ModelName.parse("b"), data)
    assert store.manifest_path(ModelName.parse("b")).read_bytes() == data


def test_manifest_without_its_blobs_is_refused(store: Store, snapshot: Snapshot) -> None:
    layer = Layer(manifest.MODEL, digest_of(b"absent"), 6)
    with pytest.raises(OllamaError, match="is missing"):
        store.write_manifest(ModelName.parse("a"), Manifest(config=layer))
    assert snapshot() == {}


def test_missing_and_damaged_manifests(store: Store) -> None:
    name = add_model(store, "a")
    with pytest.raises(OllamaError, match="model 'b:latest' not found") as caught:
        store.read_manifest(ModelName.parse("b"))
    assert caught.value.status == 404
    store.manifest_path(name).write_text("{")
    with pytest.raises(InvalidManifest):
        store.read_manifest(name)


def test_delete_removes_what_only_it_used(store: Store) -> None:
    first = add_model(store, "a", b"shared", b"own")
    add_model(store, "b", b"shared")
    store.delete(first)
    assert store.has_blob(digest_of(b"shared"))
    assert not store.has_blob(digest_of(b"own"))
    assert not store.manifest_path(first).parent.exists()
    with pytest.raises(OllamaError, match="model 'a:latest' not found"):
        store.delete(first)


def test_delete_of_the_last_model_keeps_the_folders_of_the_store(store: Store) -> None:
    store.delete(add_model(store, "a", b"own"))
    assert store.manifests.is_dir()
    assert [path for path in store.blobs.iterdir() if path.is_file()] == []


def test_nothing_is_removed_beside_an_unreadable_manifest(store: Store) -> None:
    name = add_model(store, "a", b"own")
    broken = store.manifest_path(add_model(store, "b"))
    broken.write_text("{")
    store.delete(name)
    assert store.has_blob(digest_of(b"own"))
    assert store.names() == [ModelName.parse("b")]


def test_nothing_is_removed_beside_a_manifest_list(store: Store) -> None:
    name = add_model(store, "a", b"own")
    path = store.manifest_path(add_model(store, "b"))
    path.write_text(
        '{"schemaVersion":2,"mediaType":"application/vnd.ollama.manifest.list.v2+json"}'
    )
    store.delete(name)
    assert store.has_blob(digest_of(b"own"))


def test_manifests_of_newer_ollamas_keep_their_blobs(store: Store) -> None:
    name = add_model(store, "a", b"own")
    kept = store.add_blob(store.read_manifest_bytes(name))
    link = store.root / "manifests-v2/registry.ollama.ai/library/c/latest"
    link.parent.mkdir(parents=True)
    link.symlink_to(store.blob_path(kept.digest))
    store.remove_unused([kept.digest])
    store.delete(name)
    assert store.has_blob(digest_of(b"own"))
    assert store.has_blob(kept.digest)


def test_overwriting_removes_the_orphans(store: Store) -> None:
    add_model(store, "a", b"old", b"both")
    add_model(store, "a", b"new", b"both")
    assert not store.has_blob(digest_of(b"old"))
    assert store.has_blob(digest_of(b"both"))
    assert store.has_blob(digest_of(b"new"))


def test_copy(store: Store) -> None:
    source = add_model(store, "a", b"1")
    target = add_model(store, "b", b"2")
    store.copy(source, target)
    assert store.read_manifest_bytes(source) == store.read_manifest_bytes(target)
    assert not store.has_blob(digest_of(b"2"))
    store.copy(source, source)
    store.delete(source)
    assert store.has_blob(digest_of(b"1"))


def test_held_blobs_outlive_a_delete_until_they_are_let_go(store: Store) -> None:
    name = add_model(store, "a", b"1", b"2")
    with store.holding() as hold:
        hold(digest_of(b"1"))
        hold(digest_of(b"2"))
        store.delete(name)
        assert store.has_blob(digest_of(b"1"))
        add_model(store, "b", b"2")
    assert not store.has_blob(digest_of(b"1"))
    assert store.has_blob(digest_of(b"2"))


def test_two_servers_write_one_name_at_once(store: Store) -> None:
    add_model(store, "keeper", b"1", b"2")
    start = threading.Barrier(2)

    def write(server: Store, content: bytes) -> None:
        start.wait()
        for _ in range(20):
            add_model(server, "a", content)

    threads = [
        threading.Thread(target=write, args=(Store(store.root), content))
        for content in (b"1", b"2")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = store.read_manifest(ModelName.parse("a"))
    assert written.layers[0].digest in (digest_of(b"1"), digest_of(b"2"))
    assert all(store.has_blob(digest) for digest in written.digests)
