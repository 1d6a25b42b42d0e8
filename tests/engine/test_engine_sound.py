"""Sounds in prompts: the results of libmtmd's own evaluation, also in the batch loop."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Iterator
from pathlib import Path

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
import pytest
import tiny_audio
import tiny_vision
from hearing import FILES, KINDS, LONG, ONE, OTHER, Hearing, ask
from image_files import noise, refusal, saved
from plain_loop import quiet
from runners import running
from sound_files import RATE, flac, tone, wav, wav_file

from jupyter_ollama.engine.attachment import attachments
from jupyter_ollama.engine.media import Media
from jupyter_ollama.engine.sound import LOUDEST, Sound
from jupyter_ollama.engine.sound_file import MAX_SECONDS, TOO_LONG
from jupyter_ollama.engine.vision import LONGEST_PART
from jupyter_ollama.errors import OllamaError


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder with a tiny model and a projector for it."""
    kind, architecture = request.param
    folder = tmp_path_factory.mktemp("sound")
    tiny_vision.write_language_model(folder / "model.gguf", architecture)
    tiny_audio.write_projector(folder / "projector.gguf", kind)
    return folder


@pytest.fixture(scope="module")
def silence() -> Iterator[None]:
    """llama.cpp writes no log."""
    callback = quiet()
    mtmd.mtmd_helper_log_set(callback, None)
    yield
    loud = ctypes.cast(None, llama.llama_log_callback)
    mtmd.mtmd_helper_log_set(loud, None)
    llama.llama_log_set(loud, None)


@pytest.fixture(scope="module")
def hearing(folder: Path, silence: None) -> Iterator[Hearing]:
    """Every kind in turn."""
    hearing = Hearing(folder)
    yield hearing
    hearing.close()


@pytest.fixture(scope="module")
def encoderless(tmp_path_factory: pytest.TempPathFactory, silence: None) -> Iterator[Hearing]:
    """The kind with a token of each 40 ms, which sees as well."""
    folder = tmp_path_factory.mktemp("both")
    tiny_vision.write_language_model(folder / "model.gguf")
    tiny_audio.write_projector(folder / "projector.gguf", "gemma4ua", sees="gemma3")
    hearing = Hearing(folder)
    yield hearing
    hearing.close()


# Against libmtmd's own evaluation.


@pytest.mark.parametrize("batch", [512, 100])
def test_logits_are_those_of_libmtmd(hearing: Hearing, batch: int) -> None:
    text = "one [img-0] two [img-1]: which?"
    expected = hearing.by_libmtmd(text, ONE, OTHER, batch=batch)
    found = hearing.logits(text, attachments([ONE, OTHER]), batch)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    # A sound that made no difference would pass as well.
    swapped = hearing.logits(text, attachments([OTHER, ONE]), batch)
    assert np.abs(swapped - expected).max() > 0.5


@pytest.mark.parametrize("name", FILES)
def test_files_are_decoded_as_by_libmtmd(encoderless: Hearing, name: str) -> None:
    file = FILES[name]
    expected = encoderless.by_libmtmd("a [img-0] z", file)
    found = encoderless.logits("a [img-0] z", attachments([file]), 512)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    sound = Sound(file)
    samples = sound.samples(encoderless.pointer)
    assert len(samples) == pytest.approx(sound.seconds * RATE, abs=20)
    assert samples.std() > 0.01


def test_flac_is_the_wav(encoderless: Hearing) -> None:
    # Of one half scale of 16 bits; the decoders divide by other powers.
    one, other = (Sound(f).samples(encoderless.pointer) for f in (ONE, FILES["flac"]))
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_picture_and_a_sound(encoderless: Hearing) -> None:
    picture = saved(noise(48, 40))
    media = encoderless.media(picture, ONE, text="see [img-0] hear [img-1] now")
    assert [(one.n_tokens, one.non_causal) for one in media] == [(16, True), (18, False)]
    expected = encoderless.by_libmtmd("see [img-0] hear [img-1] now", picture, ONE)
    found = encoderless.logits("see [img-0] hear [img-1] now", attachments([picture, ONE]), 512)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_counted_before_anything_is_encoded(hearing: Hearing) -> None:
    text = "one [img-0] two"
    chunks = hearing.vision.chunks(text, attachments([OTHER]))
    tokens = sum(chunk.n_tokens if isinstance(chunk, Media) else len(chunk) for chunk in chunks)
    assert hearing.vision.count(text, attachments([OTHER])) == tokens


def test_windows(tmp_path: Path, silence: None) -> None:
    tiny_vision.write_language_model(tmp_path / "model.gguf")
    tiny_audio.write_projector(tmp_path / "projector.gguf", "qwen2a")
    hearing = Hearing(tmp_path)
    long = wav(np.tile(tone(1), 31))
    parts = hearing.media(long)
    assert [part.n_tokens for part in parts] == [750, 750]
    again = hearing.media(long, ONE, text="x [img-1] y [img-0]")
    assert [part.token for part in again[1:]] == [part.token for part in parts]
    assert len({part.token for part in again}) == 3
    hearing.close()


# Invalid and hostile requests.


@pytest.mark.parametrize("length", [1, 2, 159, 320, 1599, 30 * RATE + 1, 30 * RATE + 639])
def test_sounds_of_hardly_anything(hearing: Hearing, length: int) -> None:
    samples = np.full(length, 0.1, np.float32)
    assert hearing.media(wav(samples))


def test_samples_that_are_not_numbers(encoderless: Hearing) -> None:
    samples = tone(0.7)
    samples[10:14] = [np.nan, np.inf, -np.inf, 3e38]
    found = Sound(wav(samples, bits=32)).samples(encoderless.pointer)
    assert found[10:14].tolist() == [0, LOUDEST, -LOUDEST, LOUDEST]
    (media,) = encoderless.media(wav(samples, bits=32))
    assert np.isfinite(media.embeddings).all()


def test_a_flac_that_ends_early(encoderless: Hearing) -> None:
    file = flac(tone(0.7))[:-400]
    samples = Sound(file).samples(encoderless.pointer)
    assert len(samples) == round(0.7 * RATE)
    assert samples[:4096].std() > 0.01
    assert not samples[-200:].any()


def test_too_many_tokens_at_once(encoderless: Hearing) -> None:
    seconds = LONGEST_PART * tiny_audio.FRAME // RATE + 1
    status, message = refusal(lambda: encoderless.media(wav(np.tile(tone(1), seconds))))
    assert (status, message.split(",")[0]) == (
        400,
        f"the sound takes {25 * seconds} tokens at once",
    )


def test_all_sounds_of_a_prompt_are_measured() -> None:
    half = wav_file(bytes(MAX_SECONDS * 1000 // 2 + 1), 7, 1, 1000, 8)
    assert len(attachments([half])) == 1
    assert refusal(lambda: attachments([half, half])) == (400, TOO_LONG)


# In the batch loop.


def assert_same(found: dict[bytes, float], expected: dict[bytes, float]) -> None:
    last = min(expected.values())  # where the list ends, equals may change places
    for piece in found.keys() | expected.keys():
        # Other batches round otherwise, over 750 tokens by up to 0.02; other sounds differ by 2.
        assert found.get(piece, last) == pytest.approx(expected.get(piece, last), abs=0.1)


async def test_sounds_are_read_as_a_plain_loop_reads_them(folder: Path, hearing: Hearing) -> None:
    prompts = [
        ("hear [img-0] now", ONE),
        ("hear [img-0] now", OTHER),
        (LONG + "[img-0]", ONE),
        ("nothing",),
    ]
    projector = (str(folder / "projector.gguf"),)
    async with running(folder / "model.gguf", projectors=projector, num_ctx=1024) as runner:
        found = await asyncio.gather(*(ask(runner, *prompt) for prompt in prompts))
    for prompt, (one, _) in zip(prompts, found, strict=True):
        assert_same(one, hearing.first(*prompt))


async def test_sounds_that_were_read_are_not_read_again(folder: Path) -> None:
    projector = (str(folder / "projector.gguf"),)
    async with running(folder / "model.gguf", projectors=projector, num_ctx=1024) as runner:
        first, before = await ask(runner, LONG + "[img-0] what?", ONE)
        same, again = await ask(runner, LONG + "[img-0] what?", ONE)
        _, other = await ask(runner, LONG + "[img-0] what?", OTHER)
    assert before.cached == 0
    assert again.cached >= again.prompt_eval_count - 2
    assert 0 < other.cached < before.prompt_eval_count - 18
    assert_same(same, first)


async def test_sounds_that_a_model_cannot_take(tmp_path: Path) -> None:
    model = tiny_vision.write_language_model(tmp_path / "model.gguf")
    eyes = tiny_vision.write_projector(tmp_path / "eyes.gguf", "gemma3")
    ears = tiny_audio.write_projector(tmp_path / "ears.gguf", "gemma4ua")
    picture = saved(noise(48, 40))
    for projector, file, message in (
        (None, ONE, "this model has no projector for sounds"),
        (eyes, ONE, "this model has no projector for sounds"),
        (ears, picture, "this model has no projector for images"),
    ):
        projectors = (str(projector),) if projector else ()
        async with running(model, projectors=projectors, num_ctx=512) as runner:
            with pytest.raises(OllamaError, match=message):
                await ask(runner, "[img-0]", file)
