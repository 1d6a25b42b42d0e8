"""DRAFT: a smaller model in the same manifest, from the Modelfile to the files and back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from jupyter_ollama_client.modelfile import InvalidModelfile, parse
from store_models import create_model
from tiny_gguf import write_gguf

from jupyter_ollama.api.model_views import modelfile_text
from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.model import Model
from jupyter_ollama.library.store import Store
from jupyter_ollama.options import Options
from jupyter_ollama.scheduler.load_request import build_load_request, key_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Weights, an adapter and two draft models."""
    for name, metadata in (
        ("big", {"general__file_type": 1}),
        ("lora", {"general__type": "adapter"}),
        ("small", {"general__name": "small"}),
        ("other", {"general__name": "other"}),
        ("mm", {"general__type": "mmproj"}),
    ):
        write_gguf(tmp_path / f"{name}.gguf", **metadata)
    return tmp_path


def make(library: Library, name: str, modelfile: str, folder: Path, **more: Any) -> Model:
    """Create a model as `jupyter ollama create` does, the files already uploaded."""
    body, files = parse(modelfile).to_request(folder)
    for file in files:
        digest = library.store.add_blob(file.path.read_bytes()).digest
        body.setdefault(file.field, {})[file.name] = digest
    create_model(library, model=name, **body, **more)
    return library.find(name)


def refused(library: Library, folder: Path, modelfile: str, **more: Any) -> str:
    with pytest.raises(OllamaError) as caught:
        make(library, "a", modelfile, folder, **more)
    assert caught.value.status == 400
    return caught.value.message


ALL = "FROM big.gguf\nADAPTER lora.gguf\nDRAFT small.gguf\nFROM mm.gguf\n"


def test_a_draft_model_is_stored_and_shown(empty_library: Library, folder: Path) -> None:
    model = make(empty_library, "a", ALL, folder)
    layers = {layer.media_type: layer for layer in model.manifest.layers}
    layer = layers["application/vnd.ollama.image.draft"]
    assert model.draft_path == empty_library.store.blob_path(layer.digest)
    assert model.draft_path.read_bytes() == (folder / "small.gguf").read_bytes()
    assert model.model_path.read_bytes() == (folder / "big.gguf").read_bytes()
    assert model.config.draft == {"model_format": "gguf", "architecture": "llama"}
    assert model.config.model_families == ["llama"]
    assert model.size == sum(layer.size for layer in model.manifest.layers) + len(
        model.config.to_json()
    )
    lines = modelfile_text(model).split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == ["FROM", "ADAPTER", "DRAFT", "FROM"]
    assert lines[2] == f"DRAFT {model.draft_path}"
    again = make(empty_library, "again", modelfile_text(model), folder)
    assert modelfile_text(again).split("\n\n")[1] == modelfile_text(model).split("\n\n")[1]


def test_a_model_made_of_it_inherits_or_replaces_it(empty_library: Library, folder: Path) -> None:
    first = make(empty_library, "a", ALL, folder)
    child = make(empty_library, "child", "FROM a\nSYSTEM Be kind.\n", folder)
    assert child.draft_path == first.draft_path
    assert child.config.draft == first.config.draft
    other = make(empty_library, "other", "FROM a\nDRAFT other.gguf\n", folder)
    kinds = [layer.media_type for layer in other.manifest.layers]
    assert kinds.count("application/vnd.ollama.image.draft") == 1
    assert other.draft_path
    assert other.draft_path.read_bytes() == (folder / "other.gguf").read_bytes()


def test_models_with_different_drafts_are_loaded_apart(
    empty_library: Library, folder: Path
) -> None:
    server = OllamaServer(models_dir=str(empty_library.store.root))

    def spec(model: Model) -> LoadSpec:
        return build_load_request(model, Options(), None, server).spec

    drafted = make(empty_library, "a", ALL, folder)
    plain = make(empty_library, "b", ALL.replace("DRAFT small.gguf\n", ""), folder)
    assert spec(drafted).draft == str(empty_library.find("a").draft_path)
    assert spec(plain).draft is None
    assert key_of(drafted) != key_of(plain)


def test_errors(empty_library: Library, folder: Path) -> None:
    with pytest.raises(InvalidModelfile, match=r"no such draft model: \./absent"):
        parse("FROM a\nDRAFT ./absent").to_request(folder)
    with pytest.raises(InvalidModelfile, match="no such draft model: smollm2"):
        parse("FROM a\nDRAFT smollm2").to_request(folder)
    text = "FROM big.gguf\n"
    wanted = "--draft-quantize requires a DRAFT model"
    assert refused(empty_library, folder, text, draft_quantize="q8_0") == wanted
    wanted = "only one draft model is currently supported"
    assert refused(empty_library, folder, text + "DRAFT small.gguf\nDRAFT other.gguf") == wanted
    wanted = "no model was found in the files"
    assert refused(empty_library, folder, text + "DRAFT lora.gguf") == wanted
    message = refused(empty_library, folder, text + "DRAFT small.gguf", draft_quantize="q9")
    assert message.startswith("unsupported quantization type Q9")
    wanted = "file path must be relative"
    digest = "sha256:" + "0" * 64
    assert refused(empty_library, folder, text, draft_files={"../x.gguf": digest}) == wanted


def test_a_draft_model_is_quantized_apart(scratch_store: Path, tmp_path: Path) -> None:
    library = Library(Store(scratch_store))
    weights = library.find("smollm2").model_path
    os.link(weights, tmp_path / "small.gguf")
    modelfile = "FROM smollm2\nDRAFT small.gguf\n"
    model = make(library, "a", modelfile, tmp_path, draft_quantize="q8_0")
    assert model.model_path == weights
    assert model.draft_path
    assert model.read_header(model.draft_path).file_type == "Q8_0"
    assert model.header.file_type == "Q4_0"
