"""A view of a file and the same weights in llama.cpp's own layout are one model."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import llama_cpp.mtmd_cpp as mtmd
import numpy as np
import pytest
from ollama_layout import DATA, truth
from plain_loop import quiet
from plain_vision import decode_chunks

from jupyter_ollama.engine.llama_context import LlamaContext
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.picture import Picture
from jupyter_ollama.engine.vision import Vision
from jupyter_ollama.layout import c_files
from jupyter_ollama.layout.c_files import as_path
from jupyter_ollama.layout.model_file import ModelFile
from jupyter_ollama.library.gguf import read_header

MAKE = Callable[[str], Path]


def written(file: ModelFile, folder: Path) -> tuple[Path, Path | None]:
    """Write a model, and its projector, in llama.cpp's layout."""
    assert file.translation
    model, projector = folder / "model.gguf", folder / "projector.gguf"
    with model.open("wb") as target:
        file.translation.write_to(target)
    if file.projector is None:
        return model, None
    with projector.open("wb") as target:
        file.projector.write_to(target)
    return model, projector


def logits(model: LlamaModel, vision: Vision | None, text: str) -> np.ndarray:
    context = LlamaContext(model, cells=1024, sequences=1, batch=512, ubatch=512, threads=2)
    if vision is None:
        return decode_chunks(context, [model.tokenize(text, special=True)], batch=512)
    picture = Picture((DATA / "picture.png").read_bytes())
    return decode_chunks(context, vision.chunks(f"[img-0]{text}", [picture]), batch=512)


@pytest.mark.parametrize("name", ["gemma3-vision", "gptoss", "qwen25vl", "qwen35"])
def test_the_same_weights_give_the_same_logits(
    layout_model: MAKE, tmp_path: Path, name: str
) -> None:
    mtmd.mtmd_helper_log_set(quiet(), None)
    file = ModelFile(layout_model(name))
    path, projector = written(file, tmp_path)
    plain_file = ModelFile(path)
    assert (plain_file.view, plain_file.overrides) == (None, {})
    view, plain = LlamaModel(file), LlamaModel(plain_file, use_mmap=True)
    seeing: list[Vision | None] = [None, None]
    if projector:
        assert file.projector
        seeing = [
            Vision(source, model, threads=2, batch=512)
            for source, model in ((file.projector, view), (str(projector), plain))
        ]
    ours, theirs = (
        logits(view, seeing[0], "describe this"),
        logits(plain, seeing[1], "describe this"),
    )
    # The CPU reorders both mapped and read weights, but keeps them in separate buffers.
    assert np.abs(ours - theirs).max() < 1e-3


@pytest.mark.parametrize("name", ["gptoss", "gemma3-vision"])
def test_a_temporary_file_serves_where_streams_do_not(
    layout_model: MAKE, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("jupyter_ollama.engine.llama_file.has_streams", False)
    monkeypatch.delattr("os.memfd_create")
    model = LlamaModel(str(layout_model(name)))
    text, expected = next(iter(truth(name)["completions"].items()))
    assert model.tokenize(text, special=True) == expected["prompt_ids"]


def test_a_view_reads_as_the_file_it_describes(layout_model: MAKE, tmp_path: Path) -> None:
    file = ModelFile(layout_model("gemma4"))
    path, _ = written(file, tmp_path)
    assert file.translation
    assert path.stat().st_size == file.translation.size
    header = read_header(path)
    described = file.translation.header
    assert header.tensors == described.tensors
    assert header.metadata == described.metadata
    assert header.lengths == described.lengths
    assert header.data_offset == described.data_offset
    whole = path.read_bytes()
    for offset, size in ((0, 10), (header.data_offset - 3, 70), (len(whole) - 5, 99)):
        buffer = memoryview(bytearray(size))
        count = file.translation.read_into(offset, buffer)
        assert bytes(buffer[:count]) == whole[offset : offset + size]


def test_a_projector_lies_in_memory_while_it_is_opened(layout_model: MAKE) -> None:
    file = ModelFile(layout_model("gemma3-vision"))
    assert file.projector
    with as_path(file.projector) as path:
        assert path.read_bytes()[:4] == b"GGUF"
        assert struct.unpack("<I", path.read_bytes()[4:8]) == (3,)
    assert c_files.has_streams


@pytest.mark.parametrize("name", ["gemma3-text", "llama3"])
def test_files_that_differ_in_scalars_are_loaded_as_they_are(layout_model: MAKE, name: str) -> None:
    file = ModelFile(layout_model(name))
    assert file.view is None
    assert file.overrides


def test_files_of_llama_cpp_are_left_alone(layout_model: MAKE) -> None:
    file = ModelFile(layout_model("bert"))
    assert (file.translation, file.view, file.overrides, file.projector) == (None, None, {}, None)
