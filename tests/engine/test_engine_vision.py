"""Images in prompts: the results of libmtmd's own evaluation, the cache, and refusals."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import llama_cpp.llama_cpp as llama
import llama_cpp.mtmd_cpp as mtmd
import numpy as np
import pytest
import tiny_vision
from image_files import noise, refusal, saved
from numpy.typing import NDArray
from plain_loop import quiet
from plain_vision import decode_chunks, decode_media

from jupyter_ollama.engine.llama_context import LlamaContext
from jupyter_ollama.engine.llama_model import LlamaModel, LoadError
from jupyter_ollama.engine.media import Media
from jupyter_ollama.engine.picture import Picture
from jupyter_ollama.engine.saved_state import StateCopy
from jupyter_ollama.engine.vision import Vision

PROMPT = "one [img-0] two [img-1]: which?"
KINDS = ["gemma3", "idefics3", "qwen2vl_merger"]


class Seeing:
    """A language model with a projector of one kind and a context."""

    def __init__(self, model: Path, projector: Path) -> None:
        self.model = LlamaModel(str(model))
        self.projector = str(projector)
        self.vision = self.new_vision()
        self.context = LlamaContext(
            self.model, cells=1024, sequences=4, batch=256, ubatch=256, threads=2
        )

    def new_vision(self, stored_bytes: int = 1 << 20) -> Vision:
        return Vision(self.projector, self.model, threads=2, batch=16, stored_bytes=stored_bytes)

    def media(self, vision: Vision, text: str, *pictures: Picture) -> list[Media]:
        return [chunk for chunk in vision.chunks(text, pictures) if isinstance(chunk, Media)]

    def logits(self, text: str, pictures: Sequence[Picture], batch: int) -> NDArray[np.float32]:
        self.context.forget(-1)
        return decode_chunks(self.context, self.vision.chunks(text, pictures), batch=batch)

    def close(self) -> None:
        self.vision.close()
        self.context.close()
        llama.llama_model_free(self.model.pointer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tiny models and projectors; llama.cpp is silent as long as they are used."""
    folder = tmp_path_factory.mktemp("vision")
    callback = quiet()
    mtmd.mtmd_helper_log_set(callback, None)
    tiny_vision.write_language_model(folder / "llama.gguf")
    tiny_vision.write_language_model(folder / "qwen2vl.gguf", "qwen2vl")
    for kind in KINDS:
        tiny_vision.write_projector(folder / f"{kind}.gguf", kind)
    yield folder
    loud = ctypes.cast(None, llama.llama_log_callback)
    mtmd.mtmd_helper_log_set(loud, None)
    llama.llama_log_set(loud, None)


@pytest.fixture(scope="module", params=KINDS)
def seeing(folder: Path, request: pytest.FixtureRequest) -> Iterator[Seeing]:
    """Every kind in turn."""
    model = "qwen2vl" if request.param == "qwen2vl_merger" else "llama"
    seeing = Seeing(folder / f"{model}.gguf", folder / f"{request.param}.gguf")
    yield seeing
    seeing.close()


@pytest.fixture(scope="module")
def slicing(folder: Path) -> Iterator[Seeing]:
    """The kind that cuts an image into slices."""
    seeing = Seeing(folder / "llama.gguf", folder / "idefics3.gguf")
    yield seeing
    seeing.close()


def evaluated_by_libmtmd(seeing: Seeing, text: str, images: list[bytes]) -> NDArray[np.float32]:
    """Return the last logits that libmtmd's helpers compute for a prompt and image files."""
    params = mtmd.mtmd_context_params_default()
    params.use_gpu, params.n_threads, params.print_timings = False, 2, False
    context = mtmd.mtmd_init_from_file(seeing.projector.encode(), seeing.model.pointer, params)
    marked = text.replace("[img-0]", "<__media__>").replace("[img-1]", "<__media__>").encode()
    written = mtmd.mtmd_input_text(marked, len(marked), True, True)
    bitmaps = [
        mtmd.mtmd_helper_bitmap_init_from_buf(
            context, (ctypes.c_uint8 * len(image)).from_buffer_copy(image), len(image), False
        )
        for image in images
    ]
    chunks = mtmd.mtmd_input_chunks_init()
    array = (mtmd.mtmd_bitmap_p_ctypes * len(bitmaps))(*bitmaps)
    assert mtmd.mtmd_tokenize(context, chunks, ctypes.byref(written), array, len(bitmaps)) == 0
    seeing.context.forget(-1)
    past = llama.llama_pos()
    pointer = seeing.context.pointer
    assert not mtmd.mtmd_helper_eval_chunks(
        context, pointer, chunks, 0, 0, 256, True, ctypes.byref(past)
    )
    mtmd.mtmd_input_chunks_free(chunks)
    for bitmap in bitmaps:
        mtmd.mtmd_bitmap_free(bitmap)
    mtmd.mtmd_free(context)
    return seeing.context.logits(-1).copy()


@pytest.mark.parametrize("batch", [256, 3])
def test_logits_are_those_of_libmtmd(seeing: Seeing, batch: int) -> None:
    images = [saved(noise(100, 60)), saved(noise(40, 90, seed=1))]
    expected = evaluated_by_libmtmd(seeing, PROMPT, images)
    found = seeing.logits(PROMPT, [Picture(image) for image in images], batch)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    # An image that made no difference would pass as well.
    others = [Picture(images[1]), Picture(images[0])]
    assert np.abs(seeing.logits(PROMPT, others, batch) - expected).max() > 0.1


def test_real_language_model(smollm2: Path, tmp_path: Path, folder: Path) -> None:
    projector = tiny_vision.write_projector(tmp_path / "mmproj.gguf", "gemma3", width=576)
    seeing = Seeing(smollm2, projector)
    image = saved(noise(64, 64))
    expected = evaluated_by_libmtmd(seeing, "[img-0] Describe it.", [image])
    found = seeing.logits("[img-0] Describe it.", [Picture(image)], 256)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    seeing.close()


def test_prefixes_end_after_images(seeing: Seeing) -> None:
    """Forked and restored sequences go on as if they had read the image themselves."""
    picture = Picture(saved(noise(100, 60)))
    expected = seeing.logits("look [img-0] here", [picture], 256)
    chunks = seeing.vision.chunks("look [img-0] here", [picture])
    last = chunks.pop()
    assert not isinstance(last, Media)
    context = seeing.context
    context.forget(-1)
    decode_chunks(context, chunks, batch=256)
    state = context.save_next(0, StateCopy())
    assert state is not None
    assert context.restore(1, state)
    length = sum(chunk.n_pos if isinstance(chunk, Media) else len(chunk) for chunk in chunks)
    context.fork(0, 2, length)
    for sequence in (1, 2):
        found = decode_chunks(context, [last], batch=256, sequence=sequence, position=length)
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_images_of_two_sequences_in_one_batch(seeing: Seeing) -> None:
    pictures = [Picture(saved(noise(100, 60, seed=seed))) for seed in range(2)]
    media = [seeing.media(seeing.vision, "[img-0]", picture)[0] for picture in pictures]
    alone = []
    for image in media:
        seeing.context.forget(-1)
        decode_media(seeing.context, [(image, 0, 0)], batch=256)
        alone.append(decode_chunks(seeing.context, [[65]], batch=1, position=image.n_pos))
    seeing.context.forget(-1)
    decode_media(seeing.context, [(media[0], 0, 0), (media[1], 0, 1)], batch=256)
    for sequence, image in enumerate(media):
        found = decode_chunks(
            seeing.context, [[65]], batch=1, sequence=sequence, position=image.n_pos
        )
        np.testing.assert_allclose(found, alone[sequence], atol=1e-3)


def test_kinds_of_decoding(folder: Path) -> None:
    seen = {}
    for kind in KINDS:
        model = "qwen2vl" if kind == "qwen2vl_merger" else "llama"
        seeing = Seeing(folder / f"{model}.gguf", folder / f"{kind}.gguf")
        media = seeing.media(seeing.vision, "[img-0]", Picture(saved(noise(100, 60))))
        seen[kind] = [
            (m.n_tokens, m.n_pos, m.non_causal, m.positions(7)[:, -1].tolist()) for m in media
        ]
        seeing.close()
    assert seen == {
        "gemma3": [(16, 16, True, [22])],
        "idefics3": [(4, 4, False, [10])] * 5,
        "qwen2vl_merger": [(8, 4, False, [7, 8, 10, 0])],
    }


def test_tokens_are_cut_as_by_libmtmd(slicing: Seeing) -> None:
    chunks = slicing.vision.chunks("a[img-0]z", [Picture(saved(noise(100, 60)))])
    texts = [
        "".join(tiny_vision.WORDS[token] for token in chunk)
        for chunk in chunks
        if not isinstance(chunk, Media)
    ]
    row = "<fake_token_around_image><0x3C><0x72><0x6F><0x77>"
    assert len(texts) == 6
    assert texts[0].startswith("<s><0x61>" + row)
    assert texts[1].startswith(row)
    assert texts[4] == "\n\n<fake_token_around_image><global-img>"
    assert texts[5] == "<fake_token_around_image><0x7A>"
    assert slicing.vision.count("a[img-0]z", [Picture(saved(noise(100, 60)))]) == sum(
        chunk.n_tokens if isinstance(chunk, Media) else len(chunk) for chunk in chunks
    )


def test_text_with_markers_of_libmtmd_is_text(slicing: Seeing) -> None:
    (chunk,) = slicing.vision.chunks("<__media__>", [])
    assert chunk == slicing.model.tokenize("<__media__>", special=True)


def test_second_marker_of_an_image_is_text(slicing: Seeing) -> None:
    picture = Picture(saved(noise(100, 60)))
    first, *_, last = slicing.vision.chunks("[img-0]see [img-0]", [picture], special=False)
    assert isinstance(first, list)
    assert slicing.model.bos not in first
    *_, expected = slicing.vision.chunks("[img-0]", [picture], special=False)
    assert isinstance(expected, list)
    assert last == expected + slicing.model.tokenize("see [img-0]", special=False)


def test_equal_images_are_equal_prefixes(slicing: Seeing) -> None:
    image, other = saved(noise(100, 60)), saved(noise(100, 60, seed=1))
    vision = slicing.new_vision()
    first = slicing.media(vision, "[img-0] [img-1]", Picture(image), Picture(other))
    again = slicing.media(vision, "x [img-1] [img-0]", Picture(other), Picture(image))
    assert [m.token for m in first] == [m.token for m in again]
    assert len({m.token for m in first}) == len(first) == 10
    assert all(m.token < 0 for m in first)
    vision.close()


def test_encoded_once_within_a_budget(slicing: Seeing) -> None:
    pictures = [Picture(saved(noise(100, 60, seed=seed))) for seed in range(3)]
    one = sum(m.embeddings.nbytes for m in slicing.media(slicing.vision, "[img-0]", pictures[0]))
    vision = slicing.new_vision(stored_bytes=2 * one)

    def rows(picture: Picture) -> list[int]:
        return [id(m.embeddings) for m in slicing.media(vision, "[img-0]", picture)]

    kept = [slicing.media(vision, "[img-0]", picture) for picture in pictures[:2]]
    assert rows(pictures[0]) == [id(m.embeddings) for m in kept[0]]
    slicing.media(vision, "[img-0]", pictures[2])  # the second one has to leave
    assert rows(pictures[0]) == [id(m.embeddings) for m in kept[0]]
    again = slicing.media(vision, "[img-0]", pictures[1])
    assert [id(m.embeddings) for m in again] != [id(m.embeddings) for m in kept[1]]
    for before, after in zip(kept[1], again, strict=True):
        np.testing.assert_array_equal(before.embeddings, after.embeddings)
    vision.close()


def test_more_images_than_the_budget_holds(slicing: Seeing) -> None:
    vision = slicing.new_vision(stored_bytes=1)
    pictures = [Picture(saved(noise(100, 60, seed=seed))) for seed in range(2)]
    assert len(slicing.media(vision, "[img-0][img-1]", *pictures)) == 10
    vision.close()


def test_another_account_waits_as_if_a_picture_were_new(slicing: Seeing) -> None:
    vision = slicing.new_vision()
    picture = Picture(saved(noise(100, 60)))

    def rows(account: int) -> list[int]:
        chunks = vision.chunks("[img-0]", [picture], account=account)
        return [id(chunk.embeddings) for chunk in chunks if isinstance(chunk, Media)]

    kept = [rows(1), rows(2)]
    assert not set(kept[0]) & set(kept[1])
    assert [rows(1), rows(2)] == kept
    vision.close()


def test_threads(seeing: Seeing) -> None:
    pictures = [Picture(saved(noise(100, 60, seed=seed))) for seed in range(4)]
    expected = [seeing.media(seeing.vision, "[img-0]", picture) for picture in pictures]
    vision = seeing.new_vision(stored_bytes=1)
    found: dict[int, list[Media]] = {}

    def encode(number: int) -> None:
        found[number] = seeing.media(vision, "[img-0]", pictures[number])

    threads = [threading.Thread(target=encode, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, media in enumerate(expected):
        for mine, alone in zip(found[number], media, strict=True):
            np.testing.assert_allclose(mine.embeddings, alone.embeddings, atol=1e-5)
    vision.close()


@pytest.mark.parametrize(
    ("text", "count", "message"),
    [
        ("[img-1]", 1, "invalid image index: 1"),
        ("no marker", 1, "the prompt has markers for 0 of 1 images"),
        ("[img-0] [img-0]", 2, "the prompt has markers for 1 of 2 images"),
    ],
)
def test_markers_that_do_not_fit(slicing: Seeing, text: str, count: int, message: str) -> None:
    pictures = [Picture(saved(noise(32, 32)))] * count
    assert refusal(lambda: slicing.vision.chunks(text, pictures)) == (400, message)


def test_shape_that_the_projector_cannot_take(slicing: Seeing) -> None:
    strip = Picture(saved(noise(4000, 1)))
    assert refusal(lambda: slicing.vision.chunks("[img-0]", [strip])) == (
        400,
        "the model cannot take an image of this size and shape",
    )
    assert slicing.media(slicing.vision, "[img-0]", Picture(saved(noise(32, 32))))


def test_image_that_no_batch_holds(folder: Path) -> None:
    seeing = Seeing(folder / "llama.gguf", folder / "gemma3.gguf")
    vision = Vision(seeing.projector, seeing.model, threads=1, batch=15)
    picture = Picture(saved(noise(32, 32)))
    assert refusal(lambda: vision.chunks("[img-0]", [picture])) == (
        400,
        "the image takes 16 tokens at once, num_batch is 15",
    )
    vision.close()
    seeing.close()


def test_projector_of_another_model(seeing: Seeing, tmp_path: Path) -> None:
    wide = tiny_vision.write_projector(tmp_path / "wide.gguf", "gemma3", width=128)
    for path in (wide, tmp_path / "absent.gguf", tmp_path):
        with pytest.raises(LoadError, match="unable to load projector"):
            Vision(str(path), seeing.model, threads=1, batch=16)
