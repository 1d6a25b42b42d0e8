"""Push to and pull from docker-registry: stores are equal byte by byte afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from peers import LOGIN, digest_of
from pulling import Puller
from store_models import store_files

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library import manifest
from jupyter_ollama.library.manifest import Layer, Manifest
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store

Make = Callable[..., Puller]

WEIGHTS = os.urandom(1_000_000)


def add_model(store: Store, name: str, *contents: bytes, from_: str = "") -> None:
    """Write a model with a layer of each content, the config last."""
    blobs = [store.add_blob(data) for data in (*contents, b'{"model_format":"gguf"}')]
    layers = [Layer(manifest.MODEL, blob.digest, blob.size, from_) for blob in blobs]
    written = Manifest(config=layers.pop(), layers=layers)
    store.write_manifest(ModelName.parse(name), written)


def test_a_pushed_model_is_pulled_byte_by_byte(docker: str, puller: Make) -> None:
    name = f"{docker}/me/round:trip"
    here, there = puller(), puller()
    add_model(here.store, name, WEIGHTS, b"{}", b"")
    pushed = here.push(name)
    pulled = there.pull(name)
    assert store_files(there.store) == store_files(here.store)
    assert {line["status"].split(" ")[0] for line in pushed[1:-2]} == {"pushing"}
    assert pushed[0] == {"status": "retrieving manifest"}
    assert pushed[-2:] == [{"status": "pushing manifest"}, {"status": "success"}]
    assert pulled[0] == {"status": "pulling manifest"}
    assert pulled[-3:] == [
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]


def test_a_pulled_starter_model_is_usable(docker: str, puller: Make, scratch_store: Path) -> None:
    here, there = puller(Store(scratch_store)), puller()
    name = f"{docker}/library/all-minilm"
    here.store.copy(ModelName.parse("all-minilm"), ModelName.parse(name))
    here.push(name)
    there.pull(name)
    data = there.store.read_manifest_bytes(ModelName.parse(name))
    assert data == here.store.read_manifest_bytes(ModelName.parse("all-minilm"))
    for digest in Manifest.from_json(data).digests:
        assert (
            there.store.blob_path(digest).read_bytes() == here.store.blob_path(digest).read_bytes()
        )


def test_progress_grows_and_ends_at_the_total(docker: str, puller: Make) -> None:
    name = f"{docker}/me/progress"
    here, there = puller(), puller()
    add_model(here.store, name, WEIGHTS, b"second")
    for lines in (here.push(name), there.pull(name)):
        for data in (WEIGHTS, b"second"):
            mine = [line for line in lines if line.get("digest") == digest_of(data)]
            done = [line.get("completed", 0) for line in mine]
            assert done == sorted(done)
            assert done[-1] == mine[-1]["total"] == len(data)


def test_second_push_sends_the_manifest_alone(docker: str, puller: Make) -> None:
    name = f"{docker}/me/twice"
    here = puller()
    add_model(here.store, name, WEIGHTS)
    here.push(name)
    again = here.push(name)
    layers = [line for line in again if "digest" in line]
    assert layers
    assert all(line["completed"] == line["total"] for line in layers if "completed" in line)


def test_unknown_model(docker: str, puller: Make, store: Store) -> None:
    one = puller(store)
    before = store_files(store)
    with pytest.raises(OllamaError) as caught:
        one.pull(f"{docker}/library/nothing")
    assert caught.value.message == "pull model manifest: file does not exist"
    assert store_files(store) == before
    with pytest.raises(OllamaError, match="not found"):
        one.push(f"{docker}/library/nothing")


def test_login(locked_docker: str, puller: Make) -> None:
    name = f"{locked_docker}/me/secret"
    here, there = (puller(logins={locked_docker: LOGIN}) for _ in range(2))
    add_model(here.store, name, WEIGHTS)
    here.push(name)
    there.pull(name)
    assert store_files(there.store) == store_files(here.store)


@pytest.mark.parametrize("logins", [{}, {"127.0.0.1": LOGIN}, {"HOST": "ali:open window"}])
def test_without_the_right_login(locked_docker: str, puller: Make, logins: dict[str, str]) -> None:
    one = puller(logins={host.replace("HOST", locked_docker): it for host, it in logins.items()})
    with pytest.raises(OllamaError) as caught:
        one.pull(f"{locked_docker}/me/secret")
    assert caught.value.message == "pull model manifest: unauthorized: access denied"


def test_mirror_is_asked_in_place_of_a_registry(docker: str, puller: Make) -> None:
    here = puller()
    add_model(here.store, f"{docker}/me/mirrored", WEIGHTS)
    here.push(f"{docker}/me/mirrored")
    there = puller(mirrors={"registry.invalid": f"http://{docker}/"})
    there.pull("registry.invalid/me/mirrored", insecure=False)
    assert there.store.names() == [ModelName.parse("registry.invalid/me/mirrored")]
    assert there.store.has_blob(digest_of(WEIGHTS))


def test_layer_of_another_model_is_mounted(docker: str, puller: Make, tmp_path: Path) -> None:
    here = puller()
    add_model(here.store, f"{docker}/me/base", WEIGHTS)
    here.push(f"{docker}/me/base")
    # Without its file the layer cannot be sent, only mounted.
    add_model(here.store, f"{docker}/me/derived", WEIGHTS, from_=f"{docker}/me/base")
    here.store.blob_path(digest_of(WEIGHTS)).unlink()
    here.push(f"{docker}/me/derived")
    there = puller()
    there.pull(f"{docker}/me/derived")
    assert there.store.blob_path(digest_of(WEIGHTS)).read_bytes() == WEIGHTS


def test_models_share_existing_layers(docker: str, puller: Make) -> None:
    here, there = puller(), puller()
    add_model(here.store, f"{docker}/me/a", WEIGHTS, b"a")
    add_model(here.store, f"{docker}/me/b", WEIGHTS, b"b")
    here.push(f"{docker}/me/a")
    here.push(f"{docker}/me/b")
    there.pull(f"{docker}/me/a")
    lines = [line for line in there.pull(f"{docker}/me/b") if "digest" in line]
    first = [line for line in lines if line["digest"] == digest_of(WEIGHTS)]
    assert [line["completed"] for line in first] == [len(WEIGHTS)]


def test_newer_version_replaces_layers_of_the_older_one(docker: str, puller: Make) -> None:
    name = f"{docker}/me/versioned"
    here, there = puller(), puller()
    add_model(here.store, name, WEIGHTS, b"old")
    here.push(name)
    assert {"status": "removing unused layers"} not in there.pull(name)
    add_model(here.store, name, WEIGHTS, b"new")
    here.push(name)
    assert there.pull(name)[-3:] == [
        {"status": "writing manifest"},
        {"status": "removing unused layers"},
        {"status": "success"},
    ]
    assert store_files(there.store) == store_files(here.store)
    assert not there.store.has_blob(digest_of(b"old"))


def test_names_that_differ_in_case_are_one(docker: str, puller: Make) -> None:
    here = puller()
    add_model(here.store, f"{docker}/me/cased", b"x")
    here.push(f"{docker}/ME/Cased")
    there = puller()
    there.pull(f"{docker}/me/cased")
    there.pull(f"{docker}/me/CASED")
    assert len(there.store.names()) == 1
