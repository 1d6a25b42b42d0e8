"""POST /v1/audio/transcriptions: forms, the answers of each format, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_vision
from api_client import Fetch, events, neighbour_error, wait_until
from image_files import noise, saved
from sound_files import tone, wav
from store_models import add_hearing_model, add_model

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.sound_file import NO_SOUND
from jupyter_ollama.library.library import Library

PATH = "/v1/audio/transcriptions"
SOUND = wav(tone(0.7))


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model "hearing", and "deaf" without a projector."""
    folder = tmp_path_factory.mktemp("hearing")
    library = Library.open(folder / "models")
    add_hearing_model(library, "hearing", folder)
    add_model(library, "deaf", tiny_vision.write_language_model(folder / "deaf.gguf"))
    return folder / "models"


@pytest.fixture
def models_dir(hearing: Path) -> Path:
    return hearing


def form(file: bytes | None = SOUND, **fields: Any) -> tuple[bytes, dict[str, str]]:
    """Return the body of a form and its headers."""
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()
        for name, value in ({"model": "hearing"} | fields).items()
    ]
    if file is not None:
        head = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        parts.append(head + b"Content-Type: audio/wav\r\n\r\n" + file)
    body = b"".join(b"--edge\r\n" + part + b"\r\n" for part in parts) + b"--edge--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=edge"}


async def transcribe(fetch: Fetch, file: bytes | None = SOUND, **fields: Any) -> Any:
    body, headers = form(file, **fields)
    return await fetch("POST", PATH, body, headers=headers)


async def test_transcriptions(either: Fetch) -> None:
    response = await transcribe(either)
    assert response.code == 200, response.body
    body = json.loads(response.body)
    assert list(body) == ["text", "usage"]
    usage = body["usage"]
    assert usage["input_tokens"] > 60
    assert (usage["type"], usage["output_tokens"]) == ("tokens", 5)
    assert usage["total_tokens"] == usage["input_tokens"] + 5
    again = await transcribe(either, response_format="text")
    assert again.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert again.body.decode() == body["text"] == body["text"].strip()
    verbose = json.loads((await transcribe(either, response_format="verbose_json")).body)
    assert verbose == {
        "task": "transcribe",
        "language": "",
        "duration": 0.7,
        "text": body["text"],
        "usage": {"type": "duration", "seconds": 1},
    }


async def test_known_fields_go_into_the_prompt(standalone: Fetch) -> None:
    async def tokens(**fields: Any) -> int:
        body = json.loads((await transcribe(standalone, **fields)).body)
        return int(body["usage"]["input_tokens"])

    plain = await tokens()
    assert await tokens(language="fr") > plain
    assert await tokens(prompt="Names are Ada and Grace.") > plain + 10
    verbose = await transcribe(standalone, response_format="verbose_json", language="fr")
    assert json.loads(verbose.body)["language"] == "fr"


async def test_transcriptions_as_a_stream(either: Fetch) -> None:
    whole = json.loads((await transcribe(either)).body)
    found = events(await transcribe(either, stream="true"))
    *deltas, end, done = found
    assert done == {"done": True}
    assert {delta["type"] for delta in deltas} == {"transcript.text.delta"}
    assert "".join(delta["delta"] for delta in deltas).strip() == whole["text"]
    assert end == {"type": "transcript.text.done"} | whole


@pytest.mark.parametrize("field", [{"num_ctx": 64}, {"temperature": 0, "keep_alive": "-5x"}])
async def test_fields_of_ollama(standalone: Fetch, field: dict[str, Any]) -> None:
    reported = {"num_ctx": "the input length exceeds the context", "keep_alive": "unknown unit"}
    response = await transcribe(standalone, **field)
    assert response.code == 400
    assert reported[list(field)[-1]] in neighbour_error(response)


async def test_keep_alive_of_a_form(standalone: Fetch, ollama_server: OllamaServer) -> None:
    response = await transcribe(standalone, keep_alive="0")
    assert response.code == 200
    await wait_until(lambda: not ollama_server.scheduler.loaded())


@pytest.mark.parametrize(
    ("file", "fields", "message"),
    [
        (SOUND, {"model": ""}, "model is required"),
        (None, {}, "file is required"),
        (b"", {}, "audio file is empty"),
        (saved(noise(8, 8)), {}, NO_SOUND),
        (SOUND[:30], {}, NO_SOUND),
        (SOUND, {"response_format": "srt"}, "response_format srt: timestamps are not supported"),
        (
            SOUND,
            {"response_format": "x"},
            "response_format must be one of json, text, verbose_json",
        ),
        (
            SOUND,
            {"timestamp_granularities[]": "word"},
            "timestamp_granularities: timestamps are not supported",
        ),
        (SOUND, {"temperature": "hot"}, "invalid form: Expected `float`, got `str`"),
    ],
)
async def test_forms_that_are_refused(
    standalone: Fetch, file: bytes | None, fields: dict[str, Any], message: str
) -> None:
    response = await transcribe(standalone, file, **fields)
    assert response.code == 400
    assert neighbour_error(response).startswith(message)


async def test_models_that_cannot(standalone: Fetch) -> None:
    response = await transcribe(standalone, model="Deaf")
    reported = (400, '"Deaf" does not support audio')
    assert (response.code, neighbour_error(response)) == reported
    response = await transcribe(standalone, model="nope")
    assert (response.code, neighbour_error(response)) == (404, "model 'nope' not found")


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"{}", "application/json", "request Content-Type isn't multipart/form-data"),
        (b"--x--", "multipart/form-data", "no multipart boundary param in Content-Type"),
        (b"", "multipart/form-data; boundary=edge", "Invalid multipart/form-data"),
        (b"--edge\r\nnonsense", 'multipart/form-data; boundary="edge"', "Invalid multipart"),
        (
            b'--edge\r\nContent-Disposition: form-data; name="model"\r\n\r\n\xff\r\n--edge--',
            "multipart/form-data; boundary=edge",
            "'utf-8' codec",
        ),
    ],
)
async def test_bodies_that_are_not_forms(
    either: Fetch, body: bytes, kind: str, message: str
) -> None:
    response = await either("POST", PATH, body, headers={"Content-Type": kind})
    assert response.code == 400
    reported = neighbour_error(response)
    assert reported.startswith("failed to parse multipart form: ")
    assert message in reported
