"""Images over HTTP, with a tiny model that has a projector."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import tiny_vision
from api_client import Fetch, answer, chat, error, generate, neighbour_error
from image_files import noise, saved
from store_models import add_model

from jupyter_ollama.library.library import Library

OPTIONS = {"temperature": 0, "num_ctx": 512, "num_predict": 3}
IMAGE = base64.b64encode(saved(noise(48, 40, 1))).decode()
TEMPLATE = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model "seeing", and "blind" without a projector."""
    folder = tmp_path_factory.mktemp("seeing")
    model, projector = folder / "model.gguf", folder / "projector.gguf"
    tiny_vision.write_language_model(model)
    tiny_vision.write_projector(projector, "gemma3")
    library = Library.open(folder / "models")
    add_model(library, "seeing", model, projector, template=TEMPLATE)
    add_model(library, "blind", model, template=TEMPLATE)
    return folder / "models"


@pytest.fixture
def models_dir(seeing: Path) -> Path:
    return seeing


def asked(model: str = "seeing", images: Any = (IMAGE,), **fields: Any) -> dict[str, Any]:
    question = {"role": "user", "content": "what is it", "images": list(images)}
    return chat(messages=[question], options=OPTIONS, stream=False) | {"model": model} | fields


async def test_images_become_part_of_the_prompt(either: Fetch) -> None:
    shown = await answer(either, "/api/show", {"model": "seeing"})
    assert "vision" in shown["capabilities"]
    without = await answer(either, "/api/chat", asked(images=()))
    once = await answer(either, "/api/chat", asked())
    again = await answer(either, "/api/chat", asked(images=(IMAGE, IMAGE)))
    assert once["prompt_eval_count"] > without["prompt_eval_count"] + 4
    assert again["prompt_eval_count"] > once["prompt_eval_count"] + 4
    rendered = await answer(either, "/api/chat", asked(_debug_render_only=True))
    info = rendered["_debug_info"]
    assert info["rendered_template"].startswith("user: [img-0]what is it")
    assert info["image_count"] == 1
    assert info["prompt_eval_count"] == once["prompt_eval_count"]
    body = generate(model="seeing", prompt="see", images=[IMAGE], options=OPTIONS, stream=False)
    assert (await answer(either, "/api/generate", body))["prompt_eval_count"] > 8
    assert (await answer(either, "/api/generate", body | {"raw": True}))["eval_count"] > 0


async def test_the_other_apis_take_images(either: Fetch) -> None:
    native = await answer(either, "/api/chat", asked())
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}
    content = [url, {"type": "text", "text": "what is it"}]
    openai = {"model": "seeing", "messages": [{"role": "user", "content": content}]}
    body = await answer(either, "/v1/chat/completions", openai | {"max_tokens": 3})
    assert body["usage"]["prompt_tokens"] == native["prompt_eval_count"]
    source = {"type": "base64", "media_type": "image/png", "data": IMAGE}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "what is it"}]
    anthropic = {"model": "seeing", "messages": [{"role": "user", "content": content}]}
    counted = await answer(either, "/v1/messages/count_tokens", anthropic)
    assert counted["input_tokens"] == native["prompt_eval_count"]


@pytest.mark.parametrize(
    ("model", "image", "message"),
    [
        ("blind", IMAGE, '"blind" does not support vision'),
        ("seeing", "a$==", "illegal base64 data at input byte 1"),
        (
            "seeing",
            "aGk=",
            "unable to decode the image: it must be a complete PNG, JPEG or WebP file",
        ),
    ],
)
async def test_bad_images_are_refused(either: Fetch, model: str, image: str, message: str) -> None:
    response = await either("POST", "/api/chat", asked(model, (image,)))
    assert response.code == 400
    assert error(response).endswith(message)


async def test_the_other_apis_name_the_model_as_they_were_asked(standalone: Fetch) -> None:
    url = {"type": "image_url", "image_url": f"data:image/png;base64,{IMAGE}"}
    openai = {"model": "Blind", "messages": [{"role": "user", "content": [url]}]}
    source = {"type": "base64", "media_type": "image/png", "data": IMAGE}
    block = {"type": "image", "source": source}
    anthropic = {"model": "Blind", "messages": [{"role": "user", "content": [block]}]}
    item = {"type": "input_image", "image_url": url["image_url"]}
    for path, body in (
        ("/v1/chat/completions", openai),
        ("/v1/responses", {"model": "Blind", "input": [{"role": "user", "content": [item]}]}),
        ("/v1/messages", anthropic | {"max_tokens": 3}),
    ):
        response = await standalone("POST", path, body)
        reported = (response.code, neighbour_error(response))
        assert reported == (400, '"Blind" does not support vision')
