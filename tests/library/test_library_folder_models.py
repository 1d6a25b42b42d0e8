"""Models in the folders of other programs: found, named as there, shown, and not changed."""

from __future__ import annotations

import os
from pathlib import Path

import gguf
import pytest
from store_models import create_model
from tiny_gguf import write_gguf

from jupyter_ollama.api.model_views import show, tag
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store


def put(path: Path, **metadata: object) -> Path:
    """Write a GGUF and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_gguf(path, **metadata)


def names(library: Library) -> list[str]:
    return sorted(model.name.display for model in library.list())


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A cache of the hub: two revisions of one repository, files are links to blobs."""
    root = tmp_path / "hub"
    for revision, file in (("old", "gone-Q4_K_M.gguf"), ("new", "tiny-Q4_K_M.gguf")):
        blob = put(root / "models--some-one--tiny.v2-GGUF" / "blobs" / f"{revision}0123")
        snapshot = root / "models--some-one--tiny.v2-GGUF" / "snapshots" / revision
        snapshot.mkdir(parents=True)
        (snapshot / file).symlink_to(os.path.relpath(blob, snapshot))
        (snapshot / "broken-Q8_0.gguf").symlink_to("nowhere")
        (snapshot / "README.md").write_text("x")
    refs = root / "models--some-one--tiny.v2-GGUF" / "refs"
    refs.mkdir()
    (refs / "main").write_text("new")
    (root / "datasets--some-one--texts" / "snapshots" / "1").mkdir(parents=True)
    return root


def test_the_cache_of_the_hub(store: Store, hub: Path) -> None:
    library = Library(store, [hub])
    assert names(library) == ["hf.co/some-one/tiny.v2-GGUF:Q4_K_M"]
    model = library.find("hf.co/some-one/tiny.v2-GGUF:q4_k_m")
    assert model.model_path.name == "tiny-Q4_K_M.gguf", "parts of split models are found by name"
    assert model.size == model.model_path.stat().st_size


def test_lm_studio(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "lm"
    put(root / "pub" / "Tiny-GGUF" / "Tiny-IQ4_XS.gguf")
    put(root / "pub" / "Tiny-GGUF" / "Tiny-F16.gguf")
    put(root / "pub" / "Tiny-GGUF" / "mmproj-Tiny-F16.gguf", architecture="clip")
    put(root / "pub" / "Plain" / "weights.gguf")
    library = Library(store, [root])
    assert names(library) == [
        "hf.co/pub/Plain:weights",
        "hf.co/pub/Tiny-GGUF:F16",
        "hf.co/pub/Tiny-GGUF:IQ4_XS",
    ]
    assert [path.name for path in library.find("pub/Tiny-GGUF:F16").projector_paths] == [
        "mmproj-Tiny-F16.gguf"
    ]
    assert "vision" in library.find("pub/Tiny-GGUF:IQ4_XS").capabilities
    assert library.find("pub/plain").name.tag == "weights", "no tag: what there is"


def test_the_cache_of_llama_cpp(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "llama.cpp"
    put(root / "ggml-org_tiny_1b-GGUF_tiny_1b-Q8_0.gguf")
    (root / "manifest=ggml-org=tiny_1b-GGUF=latest.json").write_text("{}")
    put(root / "by-hand.Q5_K_S.gguf")
    put(root / "odd name!.gguf")
    assert names(Library(store, [root])) == [
        "by-hand:Q5_K_S",
        "hf.co/ggml-org/tiny_1b-GGUF:Q8_0",
        "odd-name-:latest",
    ]


def test_split_files_are_one_model(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "split"
    for part in (1, 2):
        put(root / f"big-Q4_0-0000{part}-of-00002.gguf")
    put(root / "half-Q4_0-00001-of-00002.gguf")
    library = Library(store, [root])
    assert names(library) == ["big:Q4_0"]
    model = library.find("big")
    assert model.model_path.name == "big-Q4_0-00001-of-00002.gguf"
    assert model.size == 2 * model.model_path.stat().st_size
    assert show(model)["model_info"]["general.parameter_count"] == 2 * (6 * 32 + 32)


def test_files_that_cannot_run_are_not_listed(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "others"
    put(root / "adapter.gguf", general__type="adapter")
    (root / "page.gguf").write_text("<!doctype html>")
    writer = gguf.GGUFWriter(root / "vocabulary.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert names(Library(store, [root, tmp_path / "missing"])) == []


def test_tags_and_show_need_no_manifest(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path / "m" / "tiny-F16.gguf", general__file_type=1, llama__context_length=64)
    library = Library(store, [tmp_path / "m"])
    (entry,) = [tag(model) for model in library.list()]
    assert entry["name"] == entry["model"] == "tiny:F16"
    assert len(entry["digest"]) == 64
    assert entry["details"]["family"] == "llama"
    assert entry["details"]["quantization_level"] == "F16"
    assert entry["details"]["context_length"] == 64
    assert entry["capabilities"] == ["completion"]
    shown = show(library.find("tiny"))
    assert f"FROM {path}" in shown["modelfile"]
    assert shown["template"] == "{{ .Prompt }}"
    assert list(store.blobs.iterdir()) == []


def test_changed_and_removed_files(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path / "m" / "tiny-F16.gguf", llama__context_length=64)
    library = Library(store, [tmp_path / "m"])
    before = library.find("tiny")
    assert library.find("tiny") is before
    put(path, llama__context_length=128, general__name="new")
    after = library.find("tiny")
    assert after.digest != before.digest
    assert after.header.get("context_length") == 128
    path.unlink()
    with pytest.raises(OllamaError, match="not found"):
        library.find("tiny")
    put(tmp_path / "m" / "other.gguf")
    assert names(library) == ["other:latest"]


def test_a_model_of_the_store_has_precedence(
    store: Store, tmp_path: Path, tiny_digest: str
) -> None:
    put(tmp_path / "m" / "tiny.gguf")
    library = Library(store, [tmp_path / "m"])
    create_model(library, model="tiny", files={"x.gguf": tiny_digest})
    assert names(library) == ["tiny:latest"]
    assert library.find("tiny").model_path == store.blob_path(tiny_digest)
    library.delete("tiny")
    assert library.find("tiny").model_path == tmp_path / "m" / "tiny.gguf"


def test_they_are_not_ours_to_delete_or_copy(store: Store, tmp_path: Path) -> None:
    path = put(tmp_path / "m" / "tiny.gguf")
    library = Library(store, [tmp_path / "m"])
    for refused in (lambda: library.delete("tiny"), lambda: library.copy("tiny", "mine")):
        with pytest.raises(OllamaError) as caught:
            refused()
        assert caught.value.status == 403
        assert caught.value.message.startswith(f"model 'tiny:latest' is the file {path}")
    assert path.exists()


def test_many_files_of_one_quantization_get_names_of_their_own(
    store: Store, tmp_path: Path
) -> None:
    for stem in ("first-Q8_0", "second-Q8_0"):
        put(tmp_path / "m" / "pub" / "both" / f"{stem}.gguf")
    assert names(Library(store, [tmp_path / "m"])) == [
        "hf.co/pub/both:Q8_0",
        "hf.co/pub/both:second-Q8_0",
    ]
