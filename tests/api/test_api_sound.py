"""Sounds over HTTP, with a tiny model whose projector sees and hears."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import tiny_audio
import tiny_vision
from api_client import (
    Fetch,
    answer,
    chat,
    error,
    generate,
    neighbour_error,
)
from image_files import noise, saved
from sound_files import flac, mp3, tone, wav, wav_file
from store_models import add_model

from jupyter_ollama.engine.sound_file import MAX_SECONDS
from jupyter_ollama.library.library import Library

OPTIONS = {"temperature": 0, "num_ctx": 512, "num_predict": 3}
SOUND = wav(tone(0.7))
ENCODED = base64.b64encode(SOUND).decode()
IMAGE = base64.b64encode(saved(noise(48, 40, 1))).decode()
TEMPLATE = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"
NO_SOUND = "unable to decode the sound: it must be a complete WAV, MP3 or FLAC file"
BAD_PART = "invalid input_audio: data must be a WAV, MP3 or FLAC file in base64"


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model "hearing", and "seeing" which is deaf."""
    folder = tmp_path_factory.mktemp("hearing")
    model, eyes, both = (folder / f"{name}.gguf" for name in ("model", "eyes", "both"))
    tiny_vision.write_language_model(model)
    tiny_vision.write_projector(eyes, "gemma3")
    tiny_audio.write_projector(both, "gemma4ua", sees="gemma3")
    library = Library.open(folder / "models")
    short = {"num_predict": 3, "num_ctx": 1024}
    add_model(library, "hearing", model, both, template=TEMPLATE, parameters=short)
    add_model(library, "seeing", model, eyes, template=TEMPLATE)
    return folder / "models"


@pytest.fixture
def models_dir(hearing: Path) -> Path:
    return hearing


def asked(model: str = "hearing", images: Any = (ENCODED,), **fields: Any) -> dict[str, Any]:
    question = {"role": "user", "content": "what is it", "images": list(images)}
    return chat(messages=[question], options=OPTIONS, stream=False) | {"model": model} | fields


async def test_sounds_become_part_of_the_prompt(either: Fetch) -> None:
    shown = await answer(either, "/api/show", {"model": "hearing"})
    assert {"vision", "audio"} <= set(shown["capabilities"])
    assert shown["projector_info"]["clip.has_audio_encoder"] is True
    deaf = await answer(either, "/api/show", {"model": "seeing"})
    assert "audio" not in deaf["capabilities"]
    without = await answer(either, "/api/chat", asked(images=()))
    once = await answer(either, "/api/chat", asked())
    both = await answer(either, "/api/chat", asked(images=(ENCODED, IMAGE)))
    # A token each 40 ms, and one before and behind.
    assert once["prompt_eval_count"] == without["prompt_eval_count"] + 18 + 2
    assert both["prompt_eval_count"] > once["prompt_eval_count"] + 16
    rendered = await answer(either, "/api/chat", asked(_debug_render_only=True))
    assert rendered["_debug_info"]["rendered_template"].startswith("user: [img-0]what is it")
    assert rendered["_debug_info"]["prompt_eval_count"] == once["prompt_eval_count"]
    body = generate(model="hearing", prompt="x", images=[ENCODED], options=OPTIONS, stream=False)
    assert (await answer(either, "/api/generate", body))["prompt_eval_count"] > 20
    raw = await answer(either, "/api/generate", body | {"raw": True})
    assert raw["prompt_eval_count"] == 1 + 18 + 2 + 1


@pytest.mark.parametrize("sound", [mp3(20), flac(tone(0.7))], ids=["mp3", "flac"])
async def test_other_kinds_of_files(standalone: Fetch, sound: bytes) -> None:
    encoded = base64.b64encode(sound).decode()
    without = await answer(standalone, "/api/chat", asked(images=()))
    body = await answer(standalone, "/api/chat", asked(images=(encoded,)))
    assert body["prompt_eval_count"] > without["prompt_eval_count"] + 12


async def test_sounds_are_cached_by_their_content(standalone: Fetch) -> None:
    sounds = [base64.b64encode(wav(tone(3, pitch))).decode() for pitch in (300, 400)]
    first, again, other = [
        await answer(standalone, "/api/chat", asked(images=(sounds[number],)))
        for number in (0, 0, 1)
    ]
    assert again["prompt_eval_cached_count"] >= first["prompt_eval_count"] - 2
    assert other["prompt_eval_cached_count"] < 20


async def test_the_other_apis_take_sounds(either: Fetch) -> None:
    native = await answer(either, "/api/chat", asked())
    sound = {"type": "input_audio", "input_audio": {"data": ENCODED, "format": "wav"}}
    content = [sound, {"type": "text", "text": "what is it"}]
    openai = {"model": "hearing", "messages": [{"role": "user", "content": content}]}
    body = await answer(either, "/v1/chat/completions", openai | {"max_tokens": 3})
    assert body["usage"]["prompt_tokens"] == native["prompt_eval_count"]
    content = [sound, {"type": "input_text", "text": "what is it"}]
    item = {"model": "hearing", "input": [{"role": "user", "content": content}]}
    body = await answer(either, "/v1/responses", item | {"max_output_tokens": 3})
    assert body["usage"]["input_tokens"] == native["prompt_eval_count"]


@pytest.mark.parametrize(
    ("model", "file", "message"),
    [
        ("seeing", SOUND, '"seeing" does not support audio'),
        ("seeing", mp3(3), '"seeing" does not support audio'),
        ("seeing", flac(tone(0.1)), '"seeing" does not support audio'),
        ("hearing", SOUND[:40], NO_SOUND),
        (
            "hearing",
            wav_file(bytes(1000 * MAX_SECONDS + 1), 7, 1, 1000, 8),
            "the sound is too long: it lasts more than 30 minutes",
        ),
        (
            "hearing",
            wav(tone(60)),
            "the input length exceeds the context length",
        ),
    ],
)
async def test_bad_sounds_are_refused(
    standalone: Fetch, model: str, file: bytes, message: str
) -> None:
    body = asked(model, (base64.b64encode(file).decode(),))
    response = await standalone("POST", "/api/chat", body)
    assert response.code == 400
    assert message in error(response)


async def test_both_lacks_are_reported(standalone: Fetch) -> None:
    response = await standalone("POST", "/api/chat", asked("smollm2", (IMAGE, "\n" + ENCODED)))
    assert response.code == 404
    model = "seeing"
    response = await standalone("POST", "/api/chat", asked(model, (IMAGE, "\n" + ENCODED)))
    assert error(response).endswith('"seeing" does not support audio')


@pytest.mark.parametrize(
    "part", [None, {}, {"data": 7}, {"data": IMAGE, "format": "wav"}, {"data": "$$$$"}]
)
async def test_parts_that_are_not_sounds(standalone: Fetch, part: Any) -> None:
    content = [{"type": "input_audio", "input_audio": part}]
    body = {"model": "hearing", "messages": [{"role": "user", "content": content}]}
    response = await standalone("POST", "/v1/chat/completions", body)
    assert (response.code, neighbour_error(response)) == (400, BAD_PART)
    body = {"model": "hearing", "input": [{"role": "user", "content": content}]}
    response = await standalone("POST", "/v1/responses", body)
    assert (response.code, neighbour_error(response)) == (400, f"input[0]: {BAD_PART}")


async def test_the_other_apis_name_the_model_as_they_were_asked(standalone: Fetch) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": ENCODED, "format": "wav"}}
    openai = {"model": "Seeing", "messages": [{"role": "user", "content": [sound]}]}
    response = await standalone("POST", "/v1/chat/completions", openai)
    reported = (400, '"Seeing" does not support audio')
    assert (response.code, neighbour_error(response)) == reported


async def test_anthropics_api_has_no_sounds(standalone: Fetch) -> None:
    source = {"type": "base64", "media_type": "audio/wav", "data": ENCODED}
    result = {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "audio"}]}
    for block in (
        {"type": "audio", "source": source},
        {"type": "input_audio", "input_audio": {"data": ENCODED}},
        {"type": "image", "source": source},
        result,
    ):
        body = {"model": "hearing", "messages": [{"role": "user", "content": [block]}]}
        response = await standalone("POST", "/v1/messages", body | {"max_tokens": 3})
        assert response.code == 400
        assert neighbour_error(response).startswith("Anthropic's API has no audio inputs")
