"""Contexts for embeddings grow to longer texts in the same runner, while requests are under way."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from runners import running

from jupyter_ollama.engine.embed_job import EmbedJob
from jupyter_ollama.engine.embed_lane import PACK_TOKENS, Lane
from jupyter_ollama.engine.embedder import Embedder
from jupyter_ollama.engine.events import Embedded, Event
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.protocol import Embed, LoadSpec
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.errors import OllamaError

SHORT, LONG = 256, 512
WORDS = "the river runs past the garden to the sea and the boats lie on the sand " * 24
"""A text of more than SHORT and less than LONG tokens."""
TEXTS = [f"{number} boats lie on the sand beside the river " * 4 for number in range(60)]


class Answers:
    """Collects the vectors of requests that a test steps."""

    def __init__(self) -> None:
        self.rows: dict[int, NDArray[np.float32]] = {}

    def event(self, event: Event) -> None:
        assert isinstance(event, Embedded)
        rows = np.frombuffer(event.rows, np.float32)
        self.rows[event.request] = rows.reshape(event.count, event.size)


async def vectors(runner: RunnerClient, texts: list[str], num_ctx: int) -> NDArray[np.float32]:
    """Return the vectors of texts that must not be cut."""
    answer = await runner.embed(texts, num_ctx, truncate=False)
    return np.frombuffer(answer.rows, np.float32).reshape(answer.count, answer.size)


def likeness(ours: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the least cosine of two rows of unit vectors."""
    return float((ours * expected).sum(axis=1).min())


async def test_an_encoder_grows_beside_requests(minilm: Path) -> None:
    async with running(minilm, num_ctx=LONG) as runner:
        expected = await vectors(runner, TEXTS * 2, LONG), await vectors(runner, [WORDS], LONG)
    async with running(minilm, num_ctx=SHORT) as runner:
        with pytest.raises(OllamaError, match="the input length exceeds the context length"):
            await vectors(runner, [WORDS], SHORT)
        before = asyncio.create_task(vectors(runner, TEXTS * 2, SHORT))
        await asyncio.sleep(0)
        await runner.resize(LONG)
        assert not before.done()
        assert runner.ready.num_ctx == LONG
        assert likeness(await vectors(runner, [WORDS], LONG), expected[1]) > 0.999
        assert likeness(await before, expected[0]) > 0.999
        await runner.resize(10 * LONG)
        assert runner.ready.num_ctx == LONG, "the model is trained for no more"
        assert likeness(await vectors(runner, [WORDS], LONG), expected[1]) > 0.999


async def test_texts_to_embed_grow_with_the_context_of_a_generation_model(smollm2: Path) -> None:
    async with running(smollm2, num_ctx=LONG) as runner:
        expected = await vectors(runner, [WORDS], LONG)
    async with running(smollm2, num_ctx=SHORT) as runner:
        assert len(await vectors(runner, TEXTS[:2], SHORT)) == 2
        await runner.resize(LONG)
        assert likeness(await vectors(runner, [WORDS], LONG), expected) > 0.999


@pytest.mark.parametrize("contexts", [1, 2])
def test_batches_that_run_are_completed(minilm: Path, contexts: int) -> None:
    loaded = ModelLoader(LoadSpec(str(minilm), num_ctx=SHORT))
    rows = []
    for grows in (False, True):
        answers = Answers()
        context, *beside = [loaded.embedding_context(PACK_TOKENS) for _ in range(contexts)]
        embedder = Embedder(loaded.model, context, SHORT, answers, beside)
        embedder.add(EmbedJob(Embed(1, TEXTS, SHORT)))
        embedder.step()
        assert embedder.busy
        if grows:
            embedder.replace_context(partial(loaded.embedding_context, LONG), LONG)
            assert embedder.longest == LONG
            embedder.add(EmbedJob(Embed(2, [WORDS], LONG, truncate=False)))
        while embedder.busy:
            embedder.step()
        rows.append(answers.rows)
    assert [[*found] for found in rows] == [[1], [2, 1]]
    assert likeness(rows[1][1], rows[0][1]) > 0.999


def test_a_text_that_is_split_is_decoded_again(
    smollm2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = ModelLoader(LoadSpec(str(smollm2), num_ctx=LONG, num_batch=64))
    parts: list[int] = []
    run = Lane.run

    def watched(lane: Lane, threads: int) -> int:
        parts.append(lane.batch.size)
        return run(lane, threads)

    monkeypatch.setattr(Lane, "run", watched)
    answers = Answers()
    context = loaded.embedding_context(LONG)
    embedder = Embedder(loaded.model, context, LONG, answers, splits=True)
    for request in (1, 2):
        embedder.add(EmbedJob(Embed(request, [WORDS], LONG)))
        embedder.step()
        assert embedder.busy
        if request == 2:
            embedder.replace_context(partial(loaded.embedding_context, 2 * LONG), 2 * LONG)
        while embedder.busy:
            embedder.step()
    assert likeness(answers.rows[2], answers.rows[1]) > 0.999
