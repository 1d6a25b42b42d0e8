"""Models in Ollama's layout answer as they do in Ollama: the same tokens, the same vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest
from ollama_layout import DATA, NAMES, PROJECTORS, truth
from plain_vision import decode_chunks

from jupyter_ollama.engine.llama_context import Batch
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.media import Chunk
from jupyter_ollama.engine.picture import Picture
from jupyter_ollama.engine.protocol import LoadSpec
from jupyter_ollama.engine.sound import Sound

NEAR_TIE = 0.1
"""The difference of log-probabilities that counts as equal."""

MAKE = Callable[[str], Path]


def load(layout_model: MAKE, name: str) -> ModelLoader:
    model, projectors = layout_model(PROJECTORS.get(name, name)), []
    if name in PROJECTORS:
        projectors = [str(layout_model(name))]
    spec = LoadSpec(model=str(model), projectors=projectors, num_ctx=2048, num_thread=1)
    return ModelLoader(spec)


class Greedy:
    """Greedy answers without end tokens, one token at a time."""

    def __init__(self, loaded: ModelLoader) -> None:
        self.model = loaded.model
        self.context = loaded.generation_context()
        self.ends = [token for token in range(self.model.n_vocab) if self.model.is_end(token)]

    def answer(self, chunks: list[Chunk], count: int) -> list[int]:
        llama.llama_memory_clear(self.context.memory, True)
        logits = decode_chunks(self.context, chunks, batch=512)
        position = sum(len(c) if isinstance(c, list) else c.n_pos for c in chunks)
        found: list[int] = []
        while True:
            logits[self.ends] = -np.inf
            found.append(int(logits.argmax()))
            if len(found) == count:
                return found
            logits = decode_chunks(self.context, [found[-1:]], batch=512, position=position)
            position += 1


WITH_TEXT = [name for name in NAMES if "completions" in truth(name)]
WITH_PICTURES = [name for name in NAMES if "pictures" in truth(name)]
WITH_SOUNDS = [name for name in NAMES if "sounds" in truth(name)]
WITH_VECTORS = [name for name in NAMES if "embeddings" in truth(name)]


def test_every_model_is_asked() -> None:
    assert set(WITH_TEXT) | set(WITH_VECTORS) == set(NAMES)


@pytest.mark.parametrize("name", WITH_TEXT)
def test_prompts_are_answered_as_in_ollama(layout_model: MAKE, name: str) -> None:
    loaded = load(layout_model, name)
    greedy = Greedy(loaded)
    for text, expected in truth(name)["completions"].items():
        tokens = loaded.model.tokenize(text, special=True)
        assert tokens == expected["prompt_ids"]
        assert greedy.answer([tokens], len(expected["tokens"])) == expected["tokens"]


@pytest.mark.parametrize("name", WITH_PICTURES)
def test_pictures_are_seen_as_in_ollama(layout_model: MAKE, name: str) -> None:
    loaded = load(layout_model, name)
    assert loaded.vision
    greedy = Greedy(loaded)
    for file, expected in truth(name)["pictures"].items():
        picture = Picture((DATA / file).read_bytes())
        text = expected["prompt"].replace("<__media__>", "[img-0]")
        chunks = loaded.vision.chunks(text, [picture])
        cells = sum(len(c) if isinstance(c, list) else c.n_tokens for c in chunks)
        assert cells == expected["prompt_tokens"]
        # Near ties are broken by rounding, which differs between processors.
        count = len(expected["tokens"]) if expected["margin"] > NEAR_TIE else 3
        assert greedy.answer(chunks, count) == expected["tokens"][:count]


@pytest.mark.parametrize("name", WITH_SOUNDS)
def test_sounds_are_heard_as_in_ollama(layout_model: MAKE, name: str) -> None:
    loaded = load(layout_model, name)
    assert loaded.vision
    assert loaded.vision.hears
    greedy = Greedy(loaded)
    for file, expected in truth(name)["sounds"].items():
        text = expected["prompt"].replace("<__media__>", "[img-0]")
        chunks = loaded.vision.chunks(text, [Sound((DATA / file).read_bytes())])
        cells = sum(len(c) if isinstance(c, list) else c.n_tokens for c in chunks)
        assert cells == expected["prompt_tokens"]
        assert greedy.answer(chunks, len(expected["tokens"])) == expected["tokens"]


@pytest.mark.parametrize("name", WITH_VECTORS)
def test_texts_are_embedded_as_in_ollama(layout_model: MAKE, name: str) -> None:
    loaded = load(layout_model, name)
    context = loaded.embedding_context(512)
    for text, expected in truth(name)["embeddings"].items():
        tokens = loaded.model.tokenize(text, special=True)
        assert tokens == expected["tokens"]
        vector = pooled(context, tokens, len(expected["vector"]))
        wanted = np.array(expected["vector"])
        assert vector @ wanted / np.linalg.norm(wanted) > 0.9999


def pooled(context: Any, tokens: list[int], width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    batch = Batch(512)
    batch.add(tokens, 0, 0, outputs="all")
    assert context.decode(batch) == 0
    row = llama.llama_get_embeddings_seq(context.pointer, 0)
    vector = np.ctypeslib.as_array(row, (width,)).copy()
    return vector / np.linalg.norm(vector)
