"""Finding missing and damaged blobs, and leftovers."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from jupyter_ollama.library import manifest
from jupyter_ollama.library.check import Leftovers, Needs, faults, set_aside, tidy
from jupyter_ollama.library.manifest import Layer, Manifest
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store


def add_model(store: Store, text: str, *contents: bytes) -> ModelName:
    layers = [Layer(manifest.LICENSE, store.add_blob(data).digest, len(data)) for data in contents]
    name = ModelName.parse(text)
    store.write_manifest(name, Manifest(layers=layers))
    return name


def blob(store: Store, data: bytes) -> Path:
    return store.blob_path(f"sha256:{hashlib.sha256(data).hexdigest()}")


def found(store: Store) -> list[tuple[str, list[str]]]:
    """Return the reasons of all faults and the affected models."""
    reports = faults(store, Needs(store, store.names()), lambda count: None)
    return [(report.reason, [name.model for name in report.needed.models]) for report in reports]


def test_a_whole_store_has_no_faults_and_every_byte_is_read_once(store: Store) -> None:
    add_model(store, "a", b"shared", b"own")
    add_model(store, "b", b"shared")
    counts: list[int] = []
    needs = Needs(store, store.names())
    assert list(faults(store, needs, counts.append)) == []
    assert sum(counts) == needs.size == len(b"sharedown")
    assert needs.models == 2


def test_missing_short_and_changed_blobs_with_their_models(store: Store) -> None:
    add_model(store, "a", b"shared", b"missing", b"short")
    add_model(store, "b", b"shared")
    blob(store, b"shared").write_bytes(b"Shared")
    blob(store, b"short").write_bytes(b"sho")
    blob(store, b"missing").unlink()
    assert sorted(found(store)) == [
        ("is damaged: 3 bytes in place of 5", ["a"]),
        ("is damaged: its content does not match its digest", ["a", "b"]),
        ("is missing", ["a"]),
    ]


@pytest.mark.parametrize(
    "content", ["{", "{}", '{"layers":[{"mediaType":"t","digest":"sha256:../x","size":1}]}']
)
def test_unreadable_manifests_are_reported_and_the_others_checked(
    store: Store, content: str
) -> None:
    broken = add_model(store, "a", b"1")
    add_model(store, "b", b"2")
    store.manifest_path(broken).write_text(content)
    blob(store, b"2").unlink()
    needs = Needs(store, store.names())
    assert list(needs.unreadable) == [broken]
    assert found(store) == [("is missing", ["b"])]


def test_a_model_that_is_deleted_meanwhile_is_no_fault(store: Store) -> None:
    name = add_model(store, "a", b"1", b"2")
    needs = Needs(store, store.names())
    store.delete(name)
    assert list(faults(store, needs, lambda count: None)) == []


def test_a_damaged_blob_is_kept_aside_until_it_is_restored(store: Store) -> None:
    add_model(store, "a", b"12345")
    blob(store, b"12345").write_bytes(b"54321")
    (fault,) = faults(store, Needs(store, store.names()), lambda count: None)
    set_aside(store, fault)
    assert not blob(store, b"12345").exists()
    tidy(store)
    (kept,) = store.blobs.rglob("*.damaged")
    assert kept.read_bytes() == b"54321"
    store.add_blob(b"12345")
    assert Leftovers(store).ours == [kept]
    tidy(store)
    assert not kept.exists()


def test_a_blob_that_was_mended_meanwhile_is_not_set_aside(store: Store) -> None:
    add_model(store, "a", b"12345")
    path = blob(store, b"12345")
    path.write_bytes(b"123")
    (fault,) = faults(store, Needs(store, store.names()), lambda count: None)
    store.add_blob(b"12345")
    set_aside(store, fault)
    assert path.read_bytes() == b"12345"


def test_leftovers_are_ours_or_not(store: Store) -> None:
    add_model(store, "a", b"1")
    others = [store.blobs / f"sha256-{'b' * 64}", store.blobs / f"sha256-{'c' * 64}-partial"]
    for path in others:
        path.write_bytes(b"x")
    folder = store.blobs / ".jupyter-ollama"
    dead = folder / "1-00.tmp"
    dead.write_bytes(b"half")
    store.marks.mark(store.add_blob(b"given up").digest, due=True)
    with store.blob_writer() as writer:
        left = Leftovers(store)
        assert sorted(left.ours) == sorted([dead, blob(store, b"given up")])
        assert sorted(left.others) == others
        tidy(store)
        assert writer.path.exists()
    assert all(path.exists() for path in others)
    assert not dead.exists()
    assert not blob(store, b"given up").exists()
    assert found(store) == []


def test_nothing_is_left_over_while_a_manifest_is_unreadable(store: Store) -> None:
    name = add_model(store, "a", b"1")
    store.manifest_path(name).write_text("{")
    os.utime(blob(store, b"1"), (1, 1))
    left = Leftovers(store)
    assert (left.ours, left.others) == ([], [])
