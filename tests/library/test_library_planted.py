"""FIFOs, sockets, devices and cyclic links in a store: nothing blocks."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_ollama.api.model_views import show, tag
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.layout.source import Source
from jupyter_ollama.library.check import Needs, faults
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.regular_file import MAX_SMALL, read_regular
from jupyter_ollama.library.store import Store

Plant = Callable[[Path], object]


def a_socket(path: Path) -> None:
    """Create a socket file; its path may be long."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


KINDS: dict[str, Plant] = {
    "fifo": os.mkfifo,
    "socket": a_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/ptmx"),
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path.name),
    "nothing": lambda path: path.symlink_to("nowhere"),
}


@pytest.fixture(params=KINDS)
def plant(request: pytest.FixtureRequest) -> Plant:
    return KINDS[request.param]


def soon(action: Callable[[], object]) -> object:
    """Return the result or the error of an action, which must not block."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(action())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert found, "it hangs"
    assert not isinstance(found[0], AttributeError | NameError | TypeError)
    return found[0]


def exchange(path: Path, plant: Plant) -> None:
    path.unlink()
    plant(path)


def test_manifests(scratch_store: Path, plant: Plant) -> None:
    folder = scratch_store / "manifests" / "registry.ollama.ai" / "library" / "planted"
    folder.mkdir()
    plant(folder / "latest")
    library = Library(Store(scratch_store))
    models = soon(library.list)
    assert isinstance(models, list)
    assert {model.name.model for model in models} == {"smollm2", "all-minilm"}
    found = soon(lambda: library.find("planted"))
    assert isinstance(found, OllamaError)
    assert found.status == 404
    assert isinstance(soon(lambda: library.copy("planted", "other")), OllamaError)
    soon(
        lambda: list(
            faults(library.store, Needs(library.store, library.store.names()), lambda count: None)
        )
    )
    soon(lambda: library.delete("planted"))


def test_irregular_files_do_not_prevent_the_removal_of_blobs(scratch_store: Path) -> None:
    folder = scratch_store / "manifests" / "registry.ollama.ai" / "library" / "planted"
    folder.mkdir()
    os.mkfifo(folder / "latest")
    store = Store(scratch_store)
    blob = store.add_blob(b"no model's")
    soon(lambda: store.remove_unused([blob.digest]))
    assert not store.has_blob(blob.digest)


@pytest.mark.parametrize("which", ["config", "weights", "params"])
def test_blobs(scratch_store: Path, plant: Plant, which: str) -> None:
    store = Store(scratch_store)
    manifest = Library(store).find("smollm2").manifest
    layers = {layer.media_type.rpartition(".")[2]: layer for layer in manifest.layers}
    layer = {"config": manifest.config, "weights": layers["model"]}.get(which) or layers.get(which)
    if layer is None:
        pytest.skip("the model has none")
    exchange(store.blob_path(layer.digest), plant)
    library = Library(Store(scratch_store))
    models = soon(library.list)
    assert isinstance(models, list)
    assert "all-minilm" in {model.name.model for model in models}
    soon(lambda: [tag(model) for model in models])
    soon(lambda: show(library.find("smollm2")))
    soon(
        lambda: list(
            faults(library.store, Needs(library.store, library.store.names()), lambda count: None)
        )
    )


def test_folders_of_models(tmp_path: Path, plant: Plant) -> None:
    folder = tmp_path / "found"
    snapshot = folder / "models--user--repo"
    (snapshot / "refs").mkdir(parents=True)
    plant(folder / "a.gguf")
    plant(snapshot / "refs" / "main")
    plant(snapshot / "snapshots")
    library = Library(Store(tmp_path / "models"), [folder])
    library.store.prepare()
    assert soon(library.list) == []


def test_files_of_our_own_folders(scratch_store: Path, plant: Plant) -> None:
    own = scratch_store / "blobs" / ".jupyter-ollama"
    own.mkdir(exist_ok=True)
    plant(own / "1-0.hold")
    plant(own / "1-0.tmp")
    store = Store(scratch_store)
    soon(store.prepare)
    blob = store.add_blob(b"no model's")
    soon(lambda: store.remove_unused([blob.digest]))
    (scratch_store / ".jupyter-ollama.lock").unlink(missing_ok=True)
    plant(scratch_store / ".jupyter-ollama.lock")
    soon(lambda: store.remove_unused([blob.digest]))


def test_a_file_that_is_opened_for_its_weights(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path / "model")
    assert isinstance(soon(lambda: Source(tmp_path / "model")), OSError)


def test_a_text_that_does_not_end(tmp_path: Path) -> None:
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.truncate(MAX_SMALL + 1)
    with pytest.raises(OSError, match="too large"):
        read_regular(path)
