"""The models that the panel suggests: the engine can load each of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gguf_files
import numpy as np
import pytest

from jupyter_ollama.engine.llama_log import LlamaLog
from jupyter_ollama.engine.llama_model import LlamaModel, LoadError
from jupyter_ollama.layout.rules import ARCHITECTURES

SOURCE = Path(__file__).parents[2] / "labextension" / "src" / "models"
MODELS: list[dict[str, Any]] = json.loads((SOURCE / "library.json").read_bytes())

USES = {"chat", "thinking", "images", "audio", "code", "embeddings"}


def llama_cpp_knows(architecture: str, folder: Path) -> bool:
    """Have llama.cpp load a file that contains only the name of an architecture."""
    path = folder / f"{architecture}.gguf"
    gguf_files.write(path, architecture, {}, {"none": np.zeros(32, dtype=np.float32)})
    log = LlamaLog()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OLLAMA_LLAMA_CPP_COMPAT", "0")
        with pytest.raises(LoadError):
            LlamaModel(str(path), no_alloc=True)
    return not any("unknown model architecture" in error for error in log.errors)


def test_llama_cpp_rejects_unknown_architectures(tmp_path: Path) -> None:
    assert llama_cpp_knows("llama", tmp_path)
    assert not llama_cpp_knows("gptoss", tmp_path)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_each_model_has_a_supported_layout(model: dict[str, Any], tmp_path: Path) -> None:
    architecture = model["architecture"]
    if model["layout"] == "ollama":
        assert architecture in ARCHITECTURES
    else:
        assert model["layout"] == "llama.cpp"
        assert llama_cpp_knows(architecture, tmp_path)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_each_model_has_a_size_and_uses(model: dict[str, Any]) -> None:
    assert set(model) == {"name", "architecture", "layout", "size", "uses"}
    assert re.fullmatch(r"\d{2,3} MB|\d\.\d GB|\d\d GB", model["size"])
    assert model["uses"]
    assert set(model["uses"]) <= USES
    assert len(set(model["uses"])) == len(model["uses"])


def test_the_list_is_unique_and_current() -> None:
    names = [model["name"] for model in MODELS]
    assert len(set(names)) == len(names)
    families = {name.partition(":")[0] for name in names}
    assert families >= {
        "gemma3",
        "gemma4",
        "qwen3.5",
        "gpt-oss",
        "qwen3-vl",
        "embeddinggemma",
        "snowflake-arctic-embed2",
    }


def test_the_panel_and_this_test_know_the_same_uses() -> None:
    declared = re.search(r"export type Use =([^;]+);", (SOURCE / "library.ts").read_text())
    assert declared
    assert set(re.findall(r"'(\w+)'", declared[1])) == USES
