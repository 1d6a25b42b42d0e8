"""Errors of OpenAI's routes: their texts, their form, and the limit of bodies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from api_client import QUESTION, Fetch, neighbour_error

from jupyter_ollama.config import OllamaServer

PATH = "/v1/chat/completions"


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "smollm2", "messages": [QUESTION]} | fields


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"model": ""}, 400, "model is required"),
    ({"model": "nope"}, 404, "model 'nope' not found"),
    ({"model": "a//b"}, 400, "invalid model name"),
    ({"model": "all-minilm"}, 400, '"all-minilm" does not support chat'),
    ({"messages": []}, 400, "[] is too short - 'messages'"),
    ({"messages": [{"role": "user"}]}, 400, "invalid message content type: <nil>"),
    ({"messages": [{"role": "user", "content": 7}]}, 400, "invalid message content type: float64"),
    ({"n": 0}, 400, "n must be between 1 and 128"),
    ({"stop": ["a", 7]}, 400, "invalid type for 'stop' field: float64"),
    ({"stop": {}}, 400, "invalid type for 'stop' field: map[string]interface {}"),
    ({"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    ({"keep_alive": "10"}, 400, 'time: missing unit in duration "10"'),
    (
        {"temperature": "hot"},
        400,
        "json: cannot unmarshal string into Go struct field ChatCompletionRequest.temperature "
        "of type float64",
    ),
    (
        {"logit_bias": {"dog": 1}},
        400,
        "logit_bias must map token ids to numbers between -100 and 100",
    ),
    (
        {"logit_bias": {"7": 101}},
        400,
        "logit_bias must map token ids to numbers between -100 and 100",
    ),
    ({"response_format": {"type": "xml"}}, 400, 'invalid response format type: "xml"'),
    ({"reasoning_effort": "high"}, 400, '"smollm2" does not support thinking'),
]


@pytest.mark.parametrize(("fields", "status", "message"), BAD)
@pytest.mark.parametrize("stream", [True, False])
async def test_refusals_in_openais_form(
    standalone: Fetch,
    ollama_server: OllamaServer,
    fields: dict[str, Any],
    status: int,
    message: str,
    stream: bool,
) -> None:
    response = await standalone("POST", PATH, chat(stream=stream, **fields))
    assert (response.code, neighbour_error(response)) == (status, message)
    kind = {400: "invalid_request_error", 404: "not_found_error"}[status]
    assert json.loads(response.body)["error"]["type"] == kind
    assert ollama_server.scheduler.loaded() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", PATH, b"", 400, "EOF"),
        ("POST", PATH, b'{"model": ', 400, "unexpected EOF"),
        ("GET", PATH, None, 405, "405 method not allowed"),
        ("POST", "/v1/nope", {}, 404, "404 page not found"),
        (
            "POST",
            "/v1/audio/transcriptions",
            b"--x--",
            400,
            "failed to parse multipart form: request Content-Type isn't multipart/form-data",
        ),
        ("POST", "/v1/messages", b"{", 400, "unexpected EOF"),
        ("GET", "/v1/messages", None, 405, "405 method not allowed"),
        ("PUT", "/v1/responses", b"{}", 405, "405 method not allowed"),
    ],
)
async def test_errors_of_the_router_have_the_form_of_the_api(
    either: Fetch, method: str, path: str, body: Any, status: int, message: str
) -> None:
    response = await either(method, path, body)
    assert (response.code, neighbour_error(response)) == (status, message)
    if status == 405:
        assert response.headers["Allow"] == "POST"


async def test_a_body_beyond_the_limit(standalone: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jupyter_ollama.api.exchange.Exchange.max_json_body", 1000)

    async def produce(write: Callable[[bytes], Any]) -> None:
        for _ in range(20):
            await write(b" " * 1000)

    for body in ({"body_producer": produce}, {"body": b" " * 20_000}):
        response = await standalone("POST", PATH, **body)
        assert (response.code, neighbour_error(response)) == (413, "http: request body too large")
