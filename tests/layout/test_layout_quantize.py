"""Quantizing a model in Ollama's layout keeps the layout and the vision tower unchanged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ollama_layout import truth
from plain_loop import quiet

from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.layout.model_file import ModelFile
from jupyter_ollama.library.gguf import read_header

MODELS = [
    "embeddinggemma",
    "gemma3-text",
    "gemma3-vision",
    "gemma4",
    "glm4moelite",
    "gptoss-mxfp4-raw",
    "mistral3-head",
    "qwen25vl",
    "qwen35",
]


def data(path: Path, name: str) -> bytes:
    header = read_header(path)
    tensor = next(tensor for tensor in header.tensors if tensor.name == name)
    with path.open("rb") as file:
        file.seek(header.data_offset + tensor.offset)
        return file.read(tensor.size)


@pytest.mark.parametrize("name", MODELS)
def test_only_the_weights_of_the_language_model_change(
    layout_model: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    source, target = layout_model(name), tmp_path / "quantized.gguf"
    module = "jupyter_ollama.engine.quantize"
    command = [sys.executable, "-m", module, str(source), str(target), "Q8_0"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    before, after = read_header(source, arrays=True), read_header(target, arrays=True)
    assert after.file_type == "Q8_0"
    assert {**after.metadata, "general.file_type": 0} == {**before.metadata, "general.file_type": 0}
    shapes = [(tensor.name, tensor.shape) for tensor in before.tensors]
    assert [(tensor.name, tensor.shape) for tensor in after.tensors] == shapes
    smaller = {t.name for t in after.tensors if t.type_name == "Q8_0"}
    towers = [t.name for t in before.tensors if t.name.startswith(("v.", "mm.", "a."))]
    assert smaller
    assert not smaller & set(towers)
    for tower in towers:
        assert data(target, tower) == data(source, tower)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["gptoss", "qwen25vl", "gemma4"])
def test_a_quantized_model_loads(
    layout_model: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    quiet()
    source, target = layout_model(name), tmp_path / "quantized.gguf"
    module = "jupyter_ollama.engine.quantize"
    command = [sys.executable, "-m", module, str(source), str(target), "Q8_0"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    file = ModelFile(target)
    assert file.view
    model = LlamaModel(file)
    for text, expected in truth(name)["completions"].items():
        assert model.tokenize(text, special=True) == expected["prompt_ids"]
