"""Errors that all endpoints of a kind report alike, with the texts of Ollama."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from api_client import QUESTION, Fetch, chat, error, generate, neighbour_error

from jupyter_ollama.api.anthropic.wire import ANTHROPIC
from jupyter_ollama.api.openai.wire import OPENAI, RESPONSES
from jupyter_ollama.api.routes import ROUTES
from jupyter_ollama.config import OllamaServer

NEIGHBOURS = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
    "/v1/completions": {"prompt": "Hi"},
    "/v1/responses": {"input": "Hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3},
}
NO_JSON = {"/api/me", "/api/web_fetch", "/api/web_search", "/v1/audio/transcriptions", "/v1/files"}
NO_JSON |= {"/api/experimental/web_fetch", "/api/experimental/web_search", "/api/signout"}
"""Routes that answer before they read a body: it is absent, a form, or not expected here."""
BODIES = [
    (method, route.path)
    for route in ROUTES
    for method in route.methods
    if method in ("POST", "DELETE") and "(" not in route.path and route.path not in NO_JSON
]
BUSY = "server busy, please try again.  maximum pending requests exceeded"
STOPPED = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal "
    "error, check ollama server logs for details"
)

RAW = "raw mode does not support template, system, or context"
THINK = '"high", "medium", "low", "max", true, or false'


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


@pytest.mark.parametrize(("method", "path"), BODIES)
async def test_bodies_that_are_not_json(standalone: Fetch, method: str, path: str) -> None:
    reported = neighbour_error if path.startswith("/v1/") else error
    none = "EOF" if path.startswith("/v1/") else "missing request body"
    for body, message in (
        (b"", none),
        (b" \n", none),
        (b"nope", "invalid character 'n' looking for beginning of value"),
        (b'{"model": "m"', "unexpected EOF"),
    ):
        response = await standalone(method, path, body)
        assert (response.code, reported(response)) == (400, message)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_queue_that_is_full(
    standalone: Fetch, ollama_server: OllamaServer, stream: bool
) -> None:
    ollama_server.max_queue = 0
    for path, body in (("/api/generate", generate()), ("/api/chat", chat())):
        response = await standalone("POST", path, body | {"stream": stream})
        assert (response.code, error(response)) == (503, BUSY)
    for path, fields in NEIGHBOURS.items():
        asked = {"model": "smollm2", "stream": stream} | fields
        response = await standalone("POST", path, asked)
        assert (response.code, neighbour_error(response)) == (503, BUSY)
    response = await standalone("POST", "/api/embed", {"model": "all-minilm", "input": "a"})
    assert (response.code, error(response)) == (503, BUSY)


async def test_weights_that_are_gone(standalone: Fetch, ollama_server: OllamaServer) -> None:
    ollama_server.library.find("smollm2").model_path.unlink()
    message = 'model "smollm2:latest" not found, try pulling it first'
    for path, body in (("/api/generate", generate()), ("/api/chat", chat())):
        response = await standalone("POST", path, body)
        assert (response.code, error(response)) == (404, message)


@pytest.mark.parametrize(("path", "body"), [("/api/generate", generate()), ("/api/chat", chat())])
async def test_a_runner_that_dies(
    standalone: Fetch, ollama_server: OllamaServer, path: str, body: dict[str, Any]
) -> None:
    def kill(chunk: bytes) -> None:
        received.append(chunk)
        for loaded in ollama_server.scheduler.loaded():
            psutil.Process(loaded.runner.pid).kill()

    received: list[bytes] = []
    options = {"num_predict": 100_000, "num_ctx": 2048, "temperature": 2}
    await standalone("POST", path, body | {"options": options}, streaming_callback=kill)
    *_, last = [json.loads(line) for line in b"".join(received).splitlines()]
    assert last == {"error": STOPPED}


@pytest.mark.parametrize(
    ("model", "fields"), [("deepseek-r1", {}), ("quen", {"info": {"model_family": "qwen3"}})]
)
async def test_old_files_of_models_that_think_by_now(
    standalone: Fetch, model: str, fields: dict[str, Any]
) -> None:
    create = {"model": model, "from": "smollm2", "stream": False} | fields
    assert (await standalone("POST", "/api/create", create)).code == 200
    message = f'"{model}" does not support thinking. Pull the model again to get the latest version'
    for path, body in (("/api/generate", generate()), ("/api/chat", chat())):
        response = await standalone("POST", path, body | {"model": model, "think": True})
        reported = (response.code, error(response))
        assert reported == (400, f"{message} with full thinking support")


@pytest.mark.parametrize(
    ("status", "openai", "anthropic"),
    [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "api_error", "authentication_error"),
        (403, "api_error", "permission_error"),
        (404, "not_found_error", "not_found_error"),
        (413, "api_error", "request_too_large"),
        (429, "api_error", "rate_limit_error"),
        (499, "api_error", "api_error"),
        (500, "api_error", "api_error"),
        (503, "api_error", "overloaded_error"),
        (529, "api_error", "overloaded_error"),
    ],
)
def test_the_neighbours_kinds_of_errors(status: int, openai: str, anthropic: str) -> None:
    for dialect in (OPENAI, RESPONSES):
        assert dialect.error(status, "text") == {
            "error": {"message": "text", "type": openai, "param": None, "code": None}
        }
    reported = ANTHROPIC.error(status, "text")
    assert reported.pop("request_id").startswith("req_")
    assert reported == {"type": "error", "error": {"type": anthropic, "message": "text"}}


async def test_the_cloud_is_off(either: Fetch) -> None:
    status = json.loads((await either("GET", "/api/status")).body)
    assert status == {"cloud": {"disabled": True, "source": "config"}}


@pytest.mark.parametrize(
    ("path", "fields", "status", "message"),
    [
        ("generate", {"model": ""}, 404, "model '' not found"),
        ("generate", {"model": "nope"}, 404, "model 'nope' not found"),
        ("generate", {"model": "a//b"}, 400, "invalid model name"),
        ("generate", {"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        ("generate", {"keep_alive": "10"}, 400, 'time: missing unit in duration "10"'),
        *(
            ("generate", {"raw": True} | more, 400, RAW)
            for more in ({"system": "s"}, {"template": "t"}, {"context": [1]})
        ),
        ("generate", {"think": True}, 400, '"smollm2" does not support thinking'),
        (
            "generate",
            {"suffix": "end"},
            400,
            '"smollm2" does not support insert',
        ),
        (
            "generate",
            {"suffix": "end", "images": ["aGk="]},
            400,
            '"smollm2" does not support insert\n"smollm2" does not support vision',
        ),
        ("generate", {"model": "all-minilm"}, 400, '"all-minilm" does not support generate'),
        (
            "generate",
            {"format": "xml"},
            400,
            'invalid format: "\\"xml\\""; expected "json" or a valid JSON Schema object',
        ),
        *(
            ("generate", {"options": {name: value}}, 400, f'option "{name}" must be {kind}')
            for name, value, kind in (
                ("num_ctx", "x", "of type integer"),
                ("temperature", "x", "of type float32"),
                ("use_mmap", "x", "of type boolean"),
                ("kv_cache_type", 1, "of type string"),
                ("stop", 1, "of type array"),
                ("stop", [1], "of an array of strings"),
            )
        ),
        *(
            ("generate", {"keep_alive": value}, 400, text)
            for value, text in (
                ("abc", 'time: invalid duration "abc"'),
                (True, "Unsupported type: 'bool'"),
            )
        ),
        *(
            (path, {"think": value}, 400, text)
            for path in ("generate", "chat")
            for value, text in (
                ("x", f'invalid think value: "x" (must be {THINK})'),
                (1, f"think must be a boolean or string ({THINK})"),
            )
        ),
        *(
            (path, {"model": name}, status, text)
            for path in ("generate", "chat")
            for name, status, text in (
                ("m:local:cloud", 400, 'use either :local or :cloud, not both: "m:local:cloud"'),
                ("gpt-oss:20b-cloud", 404, "model 'gpt-oss:20b-cloud' not found"),
            )
        ),
        ("chat", {"top_logprobs": -1}, 400, "top_logprobs must be between 0 and 20"),
        (
            "chat",
            {"messages": "hi"},
            400,
            "json: cannot unmarshal string into Go struct field ChatRequest.messages of type "
            "[]api.Message",
        ),
        ("chat", {"model": ""}, 400, "model is required"),
        ("chat", {"model": "nope"}, 404, "model 'nope' not found"),
        ("chat", {"model": "a//b"}, 400, "invalid model name"),
        ("chat", {"model": "all-minilm"}, 400, '"all-minilm" does not support chat'),
        ("chat", {"think": "high"}, 400, '"smollm2" does not support thinking'),
        (
            "chat",
            {"messages": [QUESTION | {"images": ["aGk="]}]},
            400,
            '"smollm2" does not support vision',
        ),
        (
            "chat",
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            400,
            "json: cannot unmarshal array into Go struct field ChatRequest.messages.content "
            "of type string",
        ),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_refusals_before_anything_is_loaded(
    standalone: Fetch,
    ollama_server: OllamaServer,
    path: str,
    fields: dict[str, Any],
    status: int,
    message: str,
    stream: bool,
) -> None:
    body = (chat if path == "chat" else generate)(stream=stream, **fields)
    response = await standalone("POST", f"/api/{path}", body)
    assert (response.code, error(response)) == (status, message)
    assert ollama_server.scheduler.loaded() == []
