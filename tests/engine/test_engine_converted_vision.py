"""A converted Gemma 3 sees, in a runner, what the file that Ollama made of it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gemma3_checkpoint import CONFIG, arrays_of, changed, write_checkpoint
from numpy.typing import NDArray
from ollama_layout import DATA, truth, unpack
from plain_loop import quiet
from plain_vision import decode_chunks
from runners import answer_with_probabilities, running

from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.protocol import LoadSpec, RawPrompt
from jupyter_ollama.library.convert.convert import convert
from jupyter_ollama.library.gguf import read_header
from jupyter_ollama.options import Options


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that Ollama made."""
    return unpack("gemma3-vision", tmp_path_factory.mktemp("published"))


def converted(published: Path, target: Path, config: dict[str, Any] = CONFIG) -> Path:
    folder = write_checkpoint(target.with_suffix(""), published, arrays_of(published), config)
    convert(folder, target)
    return target


@pytest.mark.parametrize("file", ["picture.png", "picture2.png"])
async def test_pictures_are_seen_as_in_ollama(published: Path, tmp_path: Path, file: str) -> None:
    expected = truth("gemma3-vision")["pictures"][file]
    text = expected["prompt"].replace("<__media__>", "[img-0]")
    prompt = RawPrompt(text, images=[(DATA / file).read_bytes()])
    options = Options(temperature=0, num_predict=len(expected["tokens"]))
    model = converted(published, tmp_path / "own.gguf")
    async with running(model, num_ctx=2048, num_thread=1) as runner:
        answer, done = await answer_with_probabilities(runner, prompt, options)
    assert done.prompt_eval_count == expected["prompt_tokens"]
    callback = quiet()
    vocabulary = LlamaModel(str(published))
    pieces = [vocabulary.piece(token) for token in expected["tokens"]]
    assert [piece for piece, _ in answer] == pieces
    del callback


def logits(model: Path) -> NDArray[np.float32]:
    """The logits behind a text that is longer than the window of the model."""
    loaded = ModelLoader(LoadSpec(model=str(model), num_ctx=256, num_thread=1))
    tokens = loaded.model.tokenize("The quick brown fox jumps over the lazy dog.", special=True)
    return decode_chunks(loaded.generation_context(), [tokens], batch=256)


def test_positions_are_scaled_as_the_checkpoint_says(published: Path, tmp_path: Path) -> None:
    """Files of Ollama do not say how they are scaled, and mean a factor of 8."""
    plain = changed("text_config", "rope_scaling")
    without = converted(published, tmp_path / "without.gguf", plain)
    metadata = read_header(without).metadata
    assert metadata["gemma3.context_length"] == 131072
    assert metadata["gemma3.rope.scaling.type"] == "none"
    blind = converted(published, tmp_path / "blind.gguf", plain | {"vision_config": None})
    assert np.abs(logits(without) - logits(blind)).max() < 1e-3
    scaled = converted(published, tmp_path / "scaled.gguf")
    assert np.abs(logits(scaled) - logits(published)).max() < 1e-3
    assert np.abs(logits(scaled) - logits(without)).max() > 0.1
