"""Creating models from all sources, without leftovers on failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from store_models import create_model, statuses
from tiny_gguf import write_gguf

from jupyter_ollama.api.model_views import show
from jupyter_ollama.library.library import Library


def test_from_a_gguf(empty_library: Library, tiny_digest: str) -> None:
    lines = create_model(empty_library, model="Tiny:a", files={"dir/tiny.gguf": tiny_digest})
    assert lines == [
        {"status": "parsing GGUF"},
        {"status": f"using existing layer {tiny_digest}"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]
    model = empty_library.find("tiny:a")
    assert model.config.model_format == "gguf"
    assert model.config.model_families == ["llama"]
    assert model.parent_model == ""
    assert model.template is None


def test_name_of_the_old_field_and_no_extension(empty_library: Library, tiny_digest: str) -> None:
    create_model(empty_library, name="tiny", files={"weights": tiny_digest}, unknown=1)
    assert empty_library.find("tiny")


def test_existing_casing_is_kept(empty_library: Library, tiny_digest: str) -> None:
    create_model(empty_library, model="Tiny", files={"x.gguf": tiny_digest})
    create_model(empty_library, model="tiny", files={"x.gguf": tiny_digest}, system="new")
    assert [model.name.display for model in empty_library.list()] == ["Tiny:latest"]


def test_layers_of_every_kind(empty_library: Library, tiny_digest: str) -> None:
    lines = create_model(
        empty_library,
        model="a",
        files={"x.gguf": tiny_digest},
        template="{{ .Prompt }}",
        system="sys",
        license="MIT",
        parameters={"temperature": 1, "stop": "x", "low_vram": True, "num_ctx": None, "odd": [1]},
        messages=[{"role": "user", "content": "q"}],
    )
    assert statuses(lines) == [
        "parsing GGUF",
        "using existing layer",
        "creating new layer",
        "writing manifest",
        "success",
    ]
    store = empty_library.store
    model = empty_library.find("a")
    written = json.loads(store.read_manifest_bytes(model.name))
    kinds = [layer["mediaType"].rpartition(".")[2] for layer in written["layers"]]
    assert kinds == ["model", "template", "system", "license", "params", "messages"]
    params, messages = (store.blob_path(layer["digest"]) for layer in written["layers"][-2:])
    assert params.read_bytes() == b'{"odd":[1],"stop":["x"],"temperature":1}\n'
    assert messages.read_bytes() == b'[{"role":"user","content":"q"}]\n'


def test_from_a_model(empty_library: Library, tiny_digest: str) -> None:
    create_model(
        empty_library,
        model="base",
        files={"x.gguf": tiny_digest},
        template="{{ .Prompt }} one",
        system="one",
        license="MIT",
        parameters={"temperature": 0.5, "top_k": 3},
        messages=[{"role": "user", "content": "q"}],
        renderer="r",
        parser="p",
    )
    lines = create_model(
        empty_library,
        **{"model": "child", "from": "BASE", "system": "two", "license": ["MIT", "Apache"]},
        parameters={"temperature": 0.7},
        parser="other",
    )
    assert statuses(lines) == [
        "using existing layer",
        "creating new layer",
        "writing manifest",
        "success",
    ]
    base, child = empty_library.find("base"), empty_library.find("child")
    assert child.model_path == base.model_path
    assert child.parent_model == "base:latest"
    assert (child.template, child.system) == ("{{ .Prompt }} one", "two")
    assert child.params == {"temperature": 0.7, "top_k": 3}
    assert child.licenses == ["MIT", "Apache"]
    assert child.messages == base.messages
    assert (child.config.renderer, child.config.parser) == ("r", "other")
    empty_library.delete("base")
    assert show(empty_library.find("child"))["license"] == "MIT\nApache"


@pytest.mark.parametrize(
    ("architecture", "formats", "params"),
    [
        ("gemma4", ("gemma4", "gemma4"), {"stop": ["<turn|>"]}),
        ("laguna", ("laguna", "laguna"), {}),
        ("nemotron_h", ("nemotron-3-nano", "nemotron-3-nano"), {}),
        ("nemotron_h_moe", ("nemotron-3-nano", "nemotron-3-nano"), {}),
        ("nemotron_h_omni", ("nemotron-3-nano", "nemotron-3-nano"), {}),
        ("gemma3", ("", ""), {}),
    ],
)
def test_formats_of_architectures(
    empty_library: Library,
    tmp_path: Path,
    architecture: str,
    formats: tuple[str, str],
    params: dict[str, Any],
) -> None:
    data = write_gguf(tmp_path / "x.gguf", architecture).read_bytes()
    files = {"x.gguf": empty_library.store.add_blob(data).digest}
    create_model(empty_library, model="a", files=files)
    model = empty_library.find("a")
    assert (model.config.renderer, model.config.parser) == formats
    assert model.params == params
    create_model(empty_library, model="b", files=files, parser="own", parameters={"stop": ["end"]})
    model = empty_library.find("b")
    assert (model.config.renderer, model.config.parser) == (formats[0], "own")
    assert model.params == {"stop": ["end"]}
    create_model(empty_library, model="c", files=files, renderer="own", parser="own")
    assert empty_library.find("c").params == {}


def test_onto_itself(empty_library: Library, tiny_digest: str) -> None:
    create_model(empty_library, model="a", files={"x.gguf": tiny_digest}, system="old system")
    old = empty_library.find("a").manifest.layers[1].digest
    create_model(empty_library, **{"model": "a", "from": "a", "system": "new"})
    assert empty_library.find("a").system == "new"
    assert not empty_library.store.has_blob(old)


def test_adapter_and_projector(empty_library: Library, tiny_digest: str, tmp_path: Path) -> None:
    store = empty_library.store
    digests = {}
    for name, kind in (("lora", "adapter"), ("mm", "mmproj")):
        path = write_gguf(tmp_path / name, general__type=kind)
        digests[name] = store.add_blob(path.read_bytes()).digest
    create_model(
        empty_library,
        model="a",
        files={"m.gguf": tiny_digest, "mm.gguf": digests["mm"]},
        adapters={"lora.gguf": digests["lora"]},
    )
    model = empty_library.find("a")
    assert model.adapter_paths == [store.blob_path(digests["lora"])]
    assert model.projector_paths == [store.blob_path(digests["mm"])]
    assert model.capabilities == ["completion", "vision"]


def test_info(empty_library: Library, tiny_digest: str) -> None:
    info = {"model_family": "fam", "context_length": 77.0, "capabilities": ["tools"]}
    create_model(empty_library, model="a", files={"x.gguf": tiny_digest}, info=info)
    config = empty_library.find("a").config
    assert config.model_families == ["fam", "llama"]
    assert config.context_length == 77
    assert config.capabilities == ["tools"]
