"""Models as the API tells of them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from jupyter_ollama_magics.modelfile import parse
from tiny_gguf import TOKENS, write_gguf

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.create import CreateRequest
from jupyter_ollama.library.model import Library
from jupyter_ollama.library.name import InvalidName, ModelName
from jupyter_ollama.library.show import parameter_size, rfc3339
from jupyter_ollama.library.store import Store
from jupyter_ollama.prompt.messages import Message


@pytest.fixture
def full(empty_library: Library, tmp_path: Path) -> Library:
    """A library whose model `full` has a layer of every kind."""
    store = empty_library.store
    files = {}
    for name, architecture, metadata in (
        (
            "m.gguf",
            "llama",
            {
                "general__name": "n",
                "general__file_type": 1,
                "llama__context_length": 64,
                "llama__embedding_length": 32,
                "tokenizer__ggml__tokens": TOKENS,
                "tokenizer__chat_template": "jinja",
            },
        ),
        ("mm.gguf", "clip", {"general__type": "mmproj", "clip__patch": 14}),
    ):
        path = write_gguf(tmp_path / name, architecture, **metadata)
        files[name] = store.add_blob(path.read_bytes()).digest
    lora = write_gguf(tmp_path / "lora.gguf", general__type="adapter")
    request = CreateRequest(
        model="full",
        files=files,
        adapters={"lora.gguf": store.add_blob(lora.read_bytes()).digest},
        template="{{ .System }}{{ .Tools }}{{ .Response }}",
        system='Say "hi".\nBe kind.',
        license=["MIT", "Apache"],
        parameters={"temperature": 1, "num_ctx": 4096, "stop": ["<a>", "b\n"], "use_mmap": False},
        messages=[Message(role="user", content="q"), Message(role="assistant", content="a")],
        renderer="r",
        parser="p",
        requires="0.14.0",
    )
    list(empty_library.create(request))
    return empty_library


def test_model_has_what_its_layers_say(full: Library) -> None:
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
    assert model.parent_model == "m.gguf"
    assert model.capabilities == ["completion", "vision", "tools"]
    assert model.modified_at.tzinfo is not None


def test_show(full: Library) -> None:
    model = full.find("full")
    body = model.show()
    assert list(body) == [
        "license",
        "modelfile",
        "parameters",
        "template",
        "system",
        "renderer",
        "parser",
        "details",
        "messages",
        "model_info",
        "projector_info",
        "tensors",
        "capabilities",
        "modified_at",
        "requires",
    ]
    assert body["license"] == "MIT\nApache"
    assert body["template"] == "{{ .System }}{{ .Tools }}{{ .Response }}"
    assert body["parameters"].split("\n") == [
        "num_ctx                        4096",
        'stop                           "<a>"',
        'stop                           "b\\n"',
        "temperature                    1",
        "use_mmap                       false",
    ]
    assert body["details"] == {
        "parent_model": "m.gguf",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "224",
        "quantization_level": "F16",
    }
    assert body["messages"][0] == {"role": "user", "content": "q"}
    assert body["model_info"] == {
        "general.architecture": "llama",
        "general.file_type": 1,
        "general.parameter_count": 224,
        "llama.context_length": 64,
        "llama.embedding_length": 32,
        "tokenizer.ggml.tokens": None,
    }
    assert body["projector_info"]["clip.patch"] == 14
    assert body["tensors"] == [
        {"name": "token_embd.weight", "type": "F32", "shape": [32, 6]},
        {"name": "output_norm.weight", "type": "F16", "shape": [32]},
    ]
    assert model.show(verbose=True)["model_info"]["tokenizer.ggml.tokens"] == TOKENS


def test_tag(full: Library) -> None:
    model = full.find("full")
    tag = model.tag()
    assert list(tag) == [
        "name",
        "model",
        "modified_at",
        "size",
        "digest",
        "details",
        "capabilities",
    ]
    assert tag["name"] == tag["model"] == "full:latest"
    assert tag["details"]["context_length"] == 64
    assert tag["details"]["embedding_length"] == 32
    assert datetime.fromisoformat(tag["modified_at"]) == model.modified_at


def test_modelfile_makes_the_same_model(full: Library, tmp_path: Path) -> None:
    model = full.find("full")
    text = model.modelfile()
    assert text.startswith(
        '# Modelfile generated by "ollama show"\n'
        "# To build a new Modelfile based on this, replace FROM with:\n"
        "# FROM full:latest\n\n"
        f"FROM {model.model_path}\n"
    )
    body, files = parse(text).to_request(tmp_path)
    assert [file.path for file in files] == [
        model.model_path,
        model.adapter_paths[0],
        model.projector_paths[0],
    ]
    for file in files:
        body.setdefault(file.field, {})[file.name] = file.path.name
    list(full.create(msgspec.convert(body | {"model": "again"}, CreateRequest)))
    first, second = model.show(), full.find("again").show()
    for key in ("license", "parameters", "template", "system", "renderer", "messages"):
        assert first[key] == second[key]


def test_starter_models(library: Library) -> None:
    smollm2, minilm = library.find("smollm2"), library.find("all-minilm")
    assert smollm2.template is None
    assert "im_start" in smollm2.show()["template"]
    assert "TEMPLATE" not in smollm2.modelfile()
    assert smollm2.capabilities == ["completion"]
    assert smollm2.details()["parameter_size"] == "134.52M"
    assert smollm2.details()["quantization_level"] == "Q4_0"
    assert "Apache License" in smollm2.licenses[0]
    assert minilm.capabilities == ["embedding"]
    assert minilm.params == {"num_ctx": 256}
    assert minilm.show()["template"] == "{{ .Prompt }}"


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
        model.show()
    assert full.find("full").tag()["name"] == "full:latest"
    model.model_path.unlink()
    with pytest.raises(OllamaError) as caught:
        _ = model.header
    assert caught.value.status == 404
    assert caught.value.message == 'model "full:latest" not found, try pulling it first'
    full.store.manifest_path(model.name).write_text("{")
    with pytest.raises(OllamaError, match="damaged"):
        full.find("full")


def test_the_library_is_light_to_import() -> None:
    code = "import sys, jupyter_ollama.library.model; print(*sys.modules)"
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


def test_models_of_other_runtimes_are_listed(store: Store) -> None:
    config = store.add_blob(
        b'{"model_format":"safetensors","model_family":"x","capabilities":["image"]}'
    )
    manifest = {"config": {"mediaType": "c", "digest": config.digest, "size": config.size}}
    store.write_manifest(ModelName.parse("mlx"), json.dumps(manifest | {"layers": []}).encode())
    (model,) = Library(store).list()
    assert model.tag()["capabilities"] == ["image"]
    assert model.show()["model_info"] == {}
    with pytest.raises(OllamaError, match="no GGUF file"):
        _ = model.model_path


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


def test_times_are_those_of_go() -> None:
    zone = timezone(timedelta(hours=-7, minutes=-30))
    time = datetime(2025, 8, 14, 15, 49, 43, 630_000)
    assert rfc3339(time.replace(tzinfo=zone)) == "2025-08-14T15:49:43.63-07:30"
    assert rfc3339(time.replace(tzinfo=UTC, microsecond=0)) == "2025-08-14T15:49:43Z"
