"""Images in the batch loop: the same logits as a plain evaluation, whatever else runs."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
import pytest
import tiny_vision
from image_files import noise, saved
from plain_loop import quiet
from plain_vision import decode_chunks
from runners import running

from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.llama_context import LlamaContext
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.picture import Picture
from jupyter_ollama.engine.protocol import ChatPrompt, RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.vision import Vision
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.options import Options
from jupyter_ollama.prompt.messages import Message

MODELS = {"gemma3": "llama", "idefics3": "llama", "qwen2vl_merger": "qwen2vl"}
ONE, OTHER = (saved(noise(48, 40, seed)) for seed in (1, 2))
LONG = "abc def " * 20
COUNT = 8


@pytest.fixture(scope="module", params=MODELS)
def files(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder with a tiny model and a projector for it."""
    folder = tmp_path_factory.mktemp("images")
    tiny_vision.write_language_model(folder / "model.gguf", MODELS[request.param])
    tiny_vision.write_projector(folder / "projector.gguf", request.param)
    return folder


class Reference:
    """A plain evaluation of prompts with images."""

    def __init__(self, files: Path) -> None:
        self.model = LlamaModel(str(files / "model.gguf"))
        self.vision = Vision(str(files / "projector.gguf"), self.model, threads=2, batch=512)
        self.context = LlamaContext(
            self.model, cells=1024, sequences=1, batch=512, ubatch=512, threads=2
        )

    def first(self, text: str, *images: bytes) -> dict[bytes, float]:
        """Return the log-probabilities of the likeliest first tokens of an answer."""
        self.context.forget(-1)
        chunks = self.vision.chunks(text, [Picture(image) for image in images])
        logits = decode_chunks(self.context, chunks, batch=512).astype(np.float64)
        logs = logits - np.log(np.exp(logits).sum())
        best = np.argsort(-logs)[:COUNT]
        return {self.model.piece(int(t), special=True): float(logs[t]) for t in best}


@pytest.fixture(scope="module")
def reference(files: Path) -> Iterator[Reference]:
    callback = quiet()
    mtmd.mtmd_helper_log_set(callback, None)
    reference = Reference(files)
    yield reference
    reference.vision.close()
    reference.context.close()
    loud = ctypes.cast(None, llama.llama_log_callback)
    mtmd.mtmd_helper_log_set(loud, None)
    llama.llama_log_set(loud, None)


async def ask(runner: RunnerClient, text: str, *images: bytes) -> tuple[dict[bytes, float], Done]:
    """Return the likeliest first tokens of an answer, and its end."""
    first: dict[bytes, float] = {}
    options = Options(temperature=0, num_predict=3)
    prompt = RawPrompt(text, list(images))
    async for event in runner.generate(prompt, options, logprobs=COUNT):
        if isinstance(event, Done):
            return first, event
        if isinstance(event, Text) and not first:
            first = {one.piece: one.logprob for one in event.logprobs[0].top}
    raise AssertionError("no Done")


def assert_same(found: dict[bytes, float], expected: dict[bytes, float]) -> None:
    last = min(expected.values())  # where the list ends, equals may change places
    for piece in found.keys() | expected.keys():
        assert found.get(piece, last) == pytest.approx(expected.get(piece, last), abs=0.02)


def vision_runner(files: Path, **spec: object):
    projector = (str(files / "projector.gguf"),)
    return running(files / "model.gguf", projectors=projector, num_ctx=512, **spec)


async def test_images_are_read_as_a_plain_loop_reads_them(
    files: Path, reference: Reference
) -> None:
    prompts = [
        ("see [img-0] now", ONE),
        ("see [img-0] now", OTHER),
        ("first [img-0] then [img-1] end", ONE, OTHER),
        (LONG + "[img-0] end", ONE),
        ("no image",),
    ]
    async with vision_runner(files) as runner:
        alone = [(await ask(runner, *prompt))[0] for prompt in prompts]
    async with vision_runner(files) as runner:
        together = await asyncio.gather(*(ask(runner, *prompt) for prompt in prompts))
    for prompt, one, (other, _) in zip(prompts, alone, together, strict=True):
        expected = reference.first(*prompt)
        assert_same(one, expected)
        assert_same(other, expected)


async def test_images_matter_to_the_reference(reference: Reference) -> None:
    one, other = (reference.first("see [img-0] now", image) for image in (ONE, OTHER))
    assert max(abs(one[piece] - other.get(piece, -99)) for piece in one) > 0.1


async def test_the_part_of_an_image_that_was_read_is_not_read_again(
    files: Path, reference: Reference
) -> None:
    async with vision_runner(files) as runner:
        _, before = await ask(runner, LONG + "[img-0] what?", ONE)
        same, again = await ask(runner, LONG + "[img-0] what?", ONE)
        longer, after = await ask(runner, LONG + "[img-0] what? and [img-1] more", ONE, OTHER)
        swapped, other = await ask(runner, LONG + "[img-0] what?", OTHER)
    assert before.cached == 0
    assert again.cached >= again.prompt_eval_count - 2
    assert after.cached >= before.prompt_eval_count - 2
    assert 0 < other.cached < before.prompt_eval_count / 2 + len(LONG)
    assert_same(same, reference.first(LONG + "[img-0] what?", ONE))
    assert_same(longer, reference.first(LONG + "[img-0] what? and [img-1] more", ONE, OTHER))
    assert_same(swapped, reference.first(LONG + "[img-0] what?", OTHER))


async def test_simultaneous_requests_share_an_image(files: Path, reference: Reference) -> None:
    texts = [LONG + f"[img-0] {word}" for word in ("who", "what", "where")]
    async with vision_runner(files) as runner:
        answers = await asyncio.gather(*(ask(runner, text, ONE) for text in texts))
    assert sum(done.cached > 20 for _, done in answers) == 2
    for text, (found, _) in zip(texts, answers, strict=True):
        assert_same(found, reference.first(text, ONE))


async def test_a_conversation_shows_its_images(files: Path) -> None:
    messages = [
        Message("user", "what is that", images=["0"]),
        Message("assistant", "a cat"),
        Message("user", "and [img] that?", images=["1"]),
    ]
    template = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"
    prompt = ChatPrompt(messages, template, images=[ONE, OTHER])
    async with vision_runner(files) as runner:
        rendered = await runner.render(prompt, 512)
        short = await runner.render(prompt, rendered.tokens - 2)
        alone = ChatPrompt(messages[2:], template, images=[ONE, OTHER], truncate=False)
        last = await runner.render(alone, 512)
    assert "user: [img-0]what is that" in rendered.text
    assert "and [img-1] that?" in rendered.text
    assert rendered.images == 2
    assert "what is that" not in short.text
    assert "and [img-0] that?" in short.text
    assert (short.images, short.tokens) == (1, last.tokens) or short.tokens < rendered.tokens


async def test_bad_images_end_their_request_alone(files: Path, reference: Reference) -> None:
    async with vision_runner(files) as runner:
        good = asyncio.create_task(ask(runner, "see [img-0] now", ONE))
        for text, images, message in [
            ("see [img-0]", [b"no image"], "unable to decode the image"),
            ("see [img-0] and [img-1]", [ONE], "invalid image index: 1"),
            ("see [img-0] only", [ONE, OTHER], "the prompt has markers for 1 of 2 images"),
            ("see [img-0]" + LONG * 10, [ONE], "the input length exceeds the context length"),
        ]:
            with pytest.raises(OllamaError, match=message.replace("[", r"\[")) as caught:
                await ask(runner, text, *images)
            assert caught.value.status == 400
        assert_same((await good)[0], reference.first("see [img-0] now", ONE))
        stream = runner.generate(RawPrompt(LONG + "[img-0]", [OTHER]), Options(num_predict=400))
        async with aclosing(stream):
            await anext(stream)
        assert_same(
            (await ask(runner, "see [img-0] now", ONE))[0], reference.first("see [img-0] now", ONE)
        )
    async with running(files / "model.gguf") as runner:
        with pytest.raises(OllamaError, match="no projector"):
            await ask(runner, "see [img-0]", ONE)
