"""Models that require a newer Ollama, and how versions are compared."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from store_models import create_model

from jupyter_ollama._version import OLLAMA_API_VERSION, __version__
from jupyter_ollama.api.model_views import show
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library import manifest
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.manifest import ImageConfig, Manifest
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.requirement import is_newer, precedence, refused_by_registry

NEWER = "0.1000.0"


def test_versions_have_the_order_of_semantic_versioning() -> None:
    ordered = [
        "0.9.6",
        "0.13.5",
        "0.14.0-rc0",
        "0.14.0",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1",
        "1.10.0",
        "10.0.0",
    ]
    known = [precedence(version) for version in ordered]
    assert None not in known
    assert all(one < other for one, other in pairwise(known))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("one", "other"), [("v0.14", "0.14.0"), ("1", "1.0.0"), ("0.33.0+linux.1", " 0.33.0 ")]
)
def test_versions_that_are_equal(one: str, other: str) -> None:
    assert precedence(one) == precedence(other) is not None


@pytest.mark.parametrize(
    "text", ["", "soon", "1.2.3.4", "01.0.0", "1.0.0-", "1.0.0-a..b", "1.0.\u0661", "9" * 9999]
)
def test_other_texts_than_versions_require_nothing(text: str) -> None:
    assert precedence(text) is None
    assert not is_newer(text)


def test_versions_newer_than_ours() -> None:
    major, minor, patch = map(int, OLLAMA_API_VERSION.split("."))
    assert is_newer(f"{major}.{minor}.{patch + 1}")
    assert is_newer(f"v{major}.{minor + 1}.0-rc0")
    assert is_newer(f"{major + 1}")
    assert not is_newer(OLLAMA_API_VERSION)
    assert not is_newer(f"{OLLAMA_API_VERSION}-rc1")
    assert not is_newer(f"{major}.{minor - 1}.99")


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("", "requires a newer Ollama, but"),
        ("The model requires a newer version of Ollama.", "requires a newer Ollama, but"),
        ("Please update to v0.40.1-rc2 or later.", "requires Ollama 0.40.1-rc2, but"),
        ("needs 0.40.1, see http://127.0.0.1/download", "requires Ollama 0.40.1, but"),
        ("see http://10.0.0.1/download", "requires a newer Ollama, but"),
        ("You have 0.33.0. You need 1.2.0.", "requires Ollama 1.2.0, but"),
    ],
)
def test_a_refusal_names_the_required_and_our_version(text: str, needed: str) -> None:
    message = refused_by_registry(text)
    assert message.startswith("412: ")
    assert needed in message
    assert OLLAMA_API_VERSION in message
    assert __version__ in message
    assert text in message


def create(library: Library, **fields: object) -> ImageConfig:
    """Create the model "made" and return its config."""
    create_model(library, model="made", **fields)
    return library.find("made").config


def add_base(library: Library, weights: str, **fields: object) -> None:
    """Write the model "base" as another program would."""
    config = library.store.add_blob(msgspec.json.encode(fields))
    size = library.store.blob_path(weights).stat().st_size
    library.store.write_manifest(
        ModelName.parse("base"),
        Manifest(
            config=manifest.Layer(manifest.CONFIG, config.digest, config.size),
            layers=[manifest.Layer(manifest.MODEL, weights, size)],
        ),
    )


def test_create_refuses_models_for_a_newer_ollama(empty_library: Library, tiny_digest: str) -> None:
    add_base(empty_library, tiny_digest, model_format="gguf", requires=NEWER)
    for fields in ({"from": "base"}, {"files": {"a.gguf": tiny_digest}, "requires": NEWER}):
        with pytest.raises(OllamaError) as caught:
            create(empty_library, **fields)
        assert caught.value.status == 400
        for part in ("made:latest", NEWER, OLLAMA_API_VERSION, __version__):
            assert part in caught.value.message
        with pytest.raises(OllamaError, match="not found"):
            empty_library.find("made")
    assert create(empty_library, **{"from": "base"}, requires="0.14.0").requires == "0.14.0"


def test_a_model_that_requires_a_newer_ollama_can_be_looked_at_and_removed(
    empty_library: Library, tiny_digest: str
) -> None:
    add_base(empty_library, tiny_digest, model_format="gguf", requires=NEWER)
    assert show(empty_library.find("base"))["requires"] == NEWER
    empty_library.copy("base", "other")
    empty_library.delete("other")
    with pytest.raises(OllamaError, match=f"requires Ollama {NEWER} or newer"):
        empty_library.find("base").check_requirement()


def test_fields_of_a_config_are_kept_by_derived_models(
    empty_library: Library, tiny_digest: str
) -> None:
    said = {
        "renderer": "new-renderer",
        "parser": "new-parser",
        "requires": "0.20.0",
        "capabilities": ["tools"],
        "context_length": 131072,
        "embedding_length": 640,
        "base_name": "Tiny",
        "draft": {"model_format": "safetensors", "tensor_prefix": "draft.", "depth": 2},
        "skills": [{"name": "search"}],
        "generation_defaults": {"top_k": 64},
    }
    lists = {"rootfs": {"type": "layers", "diff_ids": ["sha256:0"]}, "history": None}
    add_base(empty_library, tiny_digest, model_format="gguf", file_type="stale", **said, **lists)
    create(empty_library, **{"from": "base"}, system="Be brief.")
    layer = empty_library.store.read_manifest(ModelName.parse("made")).config
    written = msgspec.json.decode(empty_library.store.blob_path(layer.digest).read_bytes())
    assert {name: written[name] for name in said} == said
    assert written["model_family"] == "llama"
    assert written["file_type"] == "F16"  # from the weights
    assert not {"rootfs", "history"} & written.keys()
    info = {"context_length": 2048, "base_name": "Other"}
    changed = create(empty_library, **{"from": "base"}, info=info, renderer="another")
    assert (changed.context_length, changed.base_name) == (2048, "Other")
    assert (changed.renderer, changed.parser) == ("another", "new-parser")
