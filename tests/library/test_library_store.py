"""The store: atomic, shared, and careful about what it removes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from peers import digest_of

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library import manifest
from jupyter_ollama.library.manifest import InvalidManifest, Layer, Manifest
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store

Snapshot = Callable[[], dict[str, bytes]]


def add_model(store: Store, text: str, *contents: bytes) -> ModelName:
    """Write a model with a layer of each content."""
    layers = [Layer(manifest.LICENSE, store.add_blob(data).digest, len(data)) for data in contents]
    config = store.add_blob(b'{"model_format":"gguf"}')
    name = ModelName.parse(text)
    written = Manifest(config=Layer(manifest.CONFIG, config.digest, config.size), layers=layers)
    store.write_manifest(name, written)
    return name


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
    store.write_manifest(ModelName.parse("b"), Manifest.from_json(data), data)
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


def test_delete_removes_blobs_that_no_other_model_uses(store: Store) -> None:
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
