"""Models, and the bodies that describe them in the API."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_gguf import write_gguf

from jupyter_ollama.api.model_views import show, tag
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.gguf_types import parameter_size
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.name import InvalidName, ModelName
from jupyter_ollama.prompt.messages import Message


def test_model_has_the_contents_of_its_layers(full: Library) -> None:
    model = full.find("FULL")
    manifest = full.store.read_manifest_bytes(model.name)
    assert model.name.display == "full:latest"
    assert model.digest == hashlib.sha256(manifest).hexdigest()
    layers = json.loads(manifest)["layers"]
    assert model.size == sum(layer["size"] for layer in layers) + len(model.config.to_json())
    assert model.header.get("context_length") == 64
    assert [len(paths) for paths in (model.adapter_paths, model.projector_paths)] == [1, 1]
    assert model.system.startswith("Say")
    assert model.params["stop"] == ["<a>", "b\n"]
    assert model.messages[1] == Message(role="assistant", content="a")
    assert model.licenses == ["MIT", "Apache"]
    assert model.parent_model == ""
    assert model.capabilities == ["completion", "vision", "tools"]
    assert model.modified_at.tzinfo is not None


def test_gemma3_starter_chats_in_its_own_format(gemma3_library: Library) -> None:
    from jupyter_ollama.prompt.go_template import GoTemplate

    model = gemma3_library.find("gemma3")
    assert model.params == {"stop": ["<end_of_turn>"]}
    assert model.licenses[0].startswith("Gemma Terms of Use\n")
    assert "<div" not in model.licenses[0]
    messages = [
        Message(role=role, content=role[0]) for role in ("system", "user", "assistant", "user")
    ]
    assert GoTemplate(model.template or "").render(messages) == (
        "<start_of_turn>user\ns\n\nu<end_of_turn>\n<start_of_turn>model\na<end_of_turn>\n"
        "<start_of_turn>user\nu<end_of_turn>\n<start_of_turn>model\n"
    )


def test_a_known_model_is_as_new_as_its_manifest(full: Library) -> None:
    assert full.known("full") is None
    model = full.find("full")
    assert full.known("full") is model
    assert full.find("FULL") is model
    assert full.known("FULL") is None  # another name may differ in case only
    full.copy("full", "other")
    path = full.store.manifest_path(ModelName.parse("full"))
    path.write_bytes(full.store.manifest_path(ModelName.parse("other")).read_bytes() + b" ")
    assert full.known("full") is None
    renewed = full.find("full")
    assert renewed is not model
    assert full.known("full") is renewed
    full.delete("full")
    assert full.known("full") is None


def test_a_model_is_read_at_once(full: Library) -> None:
    model = full.find("full")
    assert not model.is_read
    model.read()
    assert model.is_read
    shutil.rmtree(full.store.blobs)
    assert model.system.startswith("Say")
    assert model.params["stop"]
    assert len(model.messages) == 2


def test_find_fails(full: Library) -> None:
    with pytest.raises(InvalidName):
        full.find("../full")
    with pytest.raises(OllamaError, match="model 'Other:x' not found") as caught:
        full.find("Other:x")
    assert caught.value.status == 404


def test_lost_blobs_and_damage(full: Library) -> None:
    model = full.find("full")
    model.model_path.write_bytes(b"GGUF")
    with pytest.raises(OllamaError, match="cannot be read: the file ends within its header"):
        show(model)
    assert tag(full.find("full"))["name"] == "full:latest"
    model.model_path.unlink()
    with pytest.raises(OllamaError) as caught:
        _ = model.header
    assert caught.value.status == 404
    assert caught.value.message == 'model "full:latest" not found, try pulling it first'
    full.store.manifest_path(model.name).write_text("{")
    with pytest.raises(OllamaError, match="damaged"):
        full.find("full")


def test_the_library_is_light_to_import() -> None:
    code = "import sys, jupyter_ollama.library.library; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    heavy = {"llama_cpp", "numpy", "pandas", "gotpl", "gguf", "jinja2"}
    assert not heavy & set(loaded.stdout.split())


def test_a_rewritten_file_is_read_again(full: Library, tmp_path: Path) -> None:
    model = full.find("full")
    assert model.header.get("context_length") == 64
    write_gguf(tmp_path / "new.gguf", llama__context_length=128)
    shutil.copy(tmp_path / "new.gguf", model.model_path)
    assert model.header.get("context_length") == 128


def test_list_is_sorted_and_survives_damage(
    full: Library, caplog: pytest.LogCaptureFixture
) -> None:
    for age, name in enumerate(("b", "a", "c")):
        full.copy("full", name)
        path = full.store.manifest_path(ModelName.parse(name))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    broken = full.store.manifest_path(ModelName.parse("c"))
    broken.write_text("{")
    assert [m.name.display for m in full.list()] == ["full:latest", "b:latest", "a:latest"]
    assert "c:latest cannot be read" in caplog.text


def test_copy_and_delete(full: Library) -> None:
    full.copy("FULL", "other:New")
    assert full.find("other:new").digest == full.find("full").digest
    full.copy("full", "OTHER:new")
    assert [name.display for name in full.store.names()] == ["full:latest", "other:New"]
    full.delete("Full")
    full.delete("OTHER:NEW")
    assert full.list() == []


@pytest.mark.parametrize(
    ("source", "destination", "status", "message"),
    [
        ("a:", "b", 400, 'source "a:" is invalid'),
        ("full", "../b", 400, 'destination "../b" is invalid'),
        ("none", "b", 404, 'model "none" not found'),
    ],
)
def test_copy_errors(
    full: Library, source: str, destination: str, status: int, message: str
) -> None:
    with pytest.raises(OllamaError) as caught:
        full.copy(source, destination)
    assert (caught.value.status, caught.value.message) == (status, message)


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [("", 400, 'name "" is invalid'), ("none", 404, "model 'none' not found")],
)
def test_delete_errors(full: Library, name: str, status: int, message: str) -> None:
    with pytest.raises(OllamaError) as caught:
        full.delete(name)
    assert (caught.value.status, caught.value.message) == (status, message)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1500, "2K"),
        (22_700, "23K"),
        (134_515_008, "134.52M"),
        (2_000_000, "2M"),
        (4_299_915_632, "4.3B"),
        (8_000_000_000, "8B"),
    ],
)
def test_parameter_size(count: int, text: str) -> None:
    assert parameter_size(count) == text
