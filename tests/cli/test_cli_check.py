"""Checking and repairing stores, and running a missing model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Ollama, Peer, Terminal
from peers import FaultyRegistry, digest_of, faulty_registry

from jupyter_ollama.library import manifest
from jupyter_ollama.library.manifest import Layer, Manifest
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store

FIRST, SECOND = os.urandom(200_000), os.urandom(100_000)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with two models that share a layer."""
    store = Store(tmp_path / "models")
    store.prepare()
    for name, contents in (("one", (FIRST, SECOND)), ("two", (SECOND,))):
        layers = [
            Layer(manifest.LICENSE, store.add_blob(data).digest, len(data)) for data in contents
        ]
        store.write_manifest(ModelName.parse(name), Manifest(layers=layers))
    return store


@pytest.fixture
def registry() -> Iterator[FaultyRegistry]:
    """A registry that has the first blob."""
    with faulty_registry() as registry:
        registry.blobs[digest_of(FIRST)] = FIRST
        yield registry


def files(store: Store) -> dict[str, bytes]:
    found = (path for path in store.root.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in found if not path.name.endswith(".lock")}


def test_a_whole_store(ollama: Ollama, store: Store) -> None:
    done = ollama("check", OLLAMA_MODELS=str(store.root))
    assert (done.returncode, done.stdout) == (0, "2 models with 2 files (300 KB) are whole\n")


def test_damage_is_reported_and_nothing_is_changed(ollama: Ollama, store: Store) -> None:
    store.blob_path(digest_of(FIRST)).unlink()
    store.blob_path(digest_of(SECOND)).write_bytes(bytes(len(SECOND)))
    store.manifests.joinpath("registry.ollama.ai/library/three").mkdir()
    store.manifests.joinpath("registry.ollama.ai/library/three/latest").write_text("{")
    before = files(store)
    done = ollama("check", OLLAMA_MODELS=str(store.root))
    assert done.returncode == 1
    first, second = digest_of(FIRST)[:19], digest_of(SECOND)[:19]
    lines = done.stdout.splitlines()
    assert f"{first} (200 KB) is missing; needed by one:latest" in lines
    damage = "is damaged: its content does not match its digest"
    assert any(line.startswith(f"{second} (100 KB) {damage}") for line in lines)
    assert any(line.startswith("the manifest of three:latest cannot be read: ") for line in lines)
    assert done.stderr.endswith("Pull, create or remove: one:latest, three:latest, two:latest\n")
    assert files(store) == before


def test_only_the_models_that_are_named(ollama: Ollama, store: Store) -> None:
    store.blob_path(digest_of(FIRST)).unlink()
    assert ollama("check", "two", OLLAMA_MODELS=str(store.root)).returncode == 0
    assert ollama("check", "two", "ONE", OLLAMA_MODELS=str(store.root)).returncode == 1
    done = ollama("check", "absent", OLLAMA_MODELS=str(store.root))
    assert (done.returncode, done.stderr) == (1, "Error: model 'absent' not found\n")


def test_repair_downloads_available_blobs_and_keeps_the_manifest(
    ollama: Ollama, store: Store, registry: FaultyRegistry
) -> None:
    path = store.blob_path(digest_of(FIRST))
    path.write_bytes(b"short")
    before = store.read_manifest_bytes(ModelName.parse("one"))
    mirror = f'--OllamaServer.registry_mirrors={{"registry.ollama.ai": "http://{registry.host}"}}'
    done = ollama("check", "--repair", mirror, OLLAMA_MODELS=str(store.root))
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == FIRST
    assert store.read_manifest_bytes(ModelName.parse("one")) == before
    assert all("/manifests/" not in asked for _, asked, _ in registry.requests)
    assert ollama("check", "--repair", OLLAMA_MODELS=str(store.root)).returncode == 0
    assert list(store.blobs.rglob("*.damaged")) == []


def test_repair_keeps_files_that_no_registry_has(
    ollama: Ollama, store: Store, registry: FaultyRegistry
) -> None:
    path = store.blob_path(digest_of(SECOND))
    path.write_bytes(b"short")
    other = store.blobs / f"sha256-{'a' * 64}"
    other.write_bytes(b"of a real Ollama")
    mirror = f'--OllamaServer.registry_mirrors={{"registry.ollama.ai": "http://{registry.host}"}}'
    done = ollama("check", "--repair", mirror, OLLAMA_MODELS=str(store.root))
    assert done.returncode == 1
    assert "cannot be downloaded from one:latest: file does not exist" in done.stdout
    assert "cannot be downloaded from two:latest: file does not exist" in done.stdout
    assert "1 files that no model needs (16 B) stay" in done.stdout
    assert not path.exists(), "the next pull gets it"
    (kept,) = store.blobs.rglob("*.damaged")
    assert kept.read_bytes() == b"short"
    assert other.exists()


def test_progress_on_a_terminal(environment: dict[str, str], store: Store) -> None:
    variables = {**environment, "OLLAMA_MODELS": str(store.root)}
    with Terminal(["jupyter-ollama", "check"], variables) as terminal:
        terminal.expect("reading  100 % of 300 KB\n")
        terminal.expect("are whole")
        assert terminal.status() == 0


def test_run_pulls_a_missing_model(ollama: Ollama, peer: Peer) -> None:
    peer.status = 404
    peer.answers["/api/show"] = [{"error": "model 'm' not found"}]
    peer.answers["/api/pull"] = [{"error": "pull model manifest: file does not exist"}]
    done = ollama("run", "m", "--insecure", "Hello", host=peer.host)
    assert done.returncode == 1
    assert "Error: pull model manifest: file does not exist" in done.stderr
    assert [path for _, path, _, _ in peer.requests] == ["/api/show", "/api/pull"]
    assert peer.requests[-1][3] == {"model": "m", "insecure": True}
