"""Bounds of requests: counts and bytes, refused before they are processed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error, fetcher, generate, neighbour_error

from jupyter_ollama.config import OllamaServer

NOTHING = {"model": "nope"}
TURN = {"role": "user", "content": "x"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
LONG = "x" * (17 * 2**20)
WIDE = {"properties": {f"property{i}": {"type": "string"} for i in range(40_000)}}


def refused_by(what: str, most: int) -> str:
    return f"{what} must be {most} at most"


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/api/chat", {"messages": [TURN] * 10_001}, refused_by("messages", 10_000)),
        ("/api/chat", {"messages": [TURN], "tools": [TOOL] * 1025}, refused_by("tools", 1024)),
        (
            "/api/chat",
            {"messages": [TURN | {"images": [""] * 150}] * 2},
            refused_by("images", 256),
        ),
        ("/api/chat", {"messages": [TURN | {"content": LONG}]}, "messages must have 16777216"),
        ("/api/chat", {"messages": [TURN], "format": WIDE}, "format must have 1048576 bytes"),
        ("/api/generate", {"prompt": LONG}, "prompt must have 16777216 bytes at most"),
        ("/api/generate", {"prompt": "x", "context": [1] * 262_145}, refused_by("context", 262144)),
        ("/api/generate", {"prompt": "x", "images": [""] * 257}, refused_by("images", 256)),
        ("/api/embed", {"input": ["x"] * 32_769}, refused_by("input", 32_768)),
        (
            "/api/rerank",
            {"query": "x", "documents": ["x"] * 32_769},
            refused_by("documents", 32768),
        ),
        (
            "/api/rerank",
            {"query": "x" * 9000, "documents": ["x"] * 9000},
            "query, once for each",
        ),
        ("/api/score", {"prompt": "x", "continuations": ["x"] * 257}, "continuations must be 256"),
        (
            "/api/score",
            {"prompt": "x" * 20_000, "choices": ["x"] * 250},
            "prompt and conti",
        ),
        ("/api/tokenize", {"content": "x" * (4 * 2**20 + 1)}, "content must have 4194304 bytes"),
        ("/api/detokenize", {"tokens": [1] * 262_145}, refused_by("tokens", 262_144)),
    ],
)
async def test_too_much_is_refused(
    standalone: Fetch, path: str, fields: dict[str, Any], message: str
) -> None:
    response = await standalone("POST", path, NOTHING | fields)
    assert response.code == 400
    assert message in error(response)


MANY = "the choices of all prompts must be 512 at most"


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/v1/completions", {"prompt": ["x"] * 1000, "n": 128}, MANY),
        ("/v1/completions", {"prompt": ["x"] * 513}, MANY),
        ("/v1/completions", {"prompt": "x" * 2**20, "n": 65}, "the prompts of all choices"),
        ("/v1/completions", {"prompt": "x", "n": 10**18}, MANY),
        ("/v1/embeddings", {"input": ["x"] * 32_769}, refused_by("input", 32_768)),
        ("/v1/rerank", {"query": "x", "documents": ["x"] * 32_769}, "documents must be 32768"),
        ("/v1/responses", {"input": [TURN] * 10_001}, refused_by("input", 10_000)),
        ("/v1/messages", {"max_tokens": 1, "messages": [TURN] * 10_001}, "messages must be 10000"),
        (
            "/v1/messages",
            {"max_tokens": 1, "stop_sequences": ["x"] * 257},
            "stop_sequences must be",
        ),
        ("/v1/chat/completions", {"messages": [TURN] * 10_001}, "messages must be 10000 at most"),
        ("/v1/chat/completions", {"messages": [TURN], "stop": ["x"] * 257}, "stop must be 256"),
        ("/v1/chat/completions", {"tools": [TOOL] * 1025}, refused_by("tools", 1024)),
    ],
)
async def test_too_much_is_refused_in_the_words_of_each_api(
    standalone: Fetch, path: str, fields: dict[str, Any], message: str
) -> None:
    response = await standalone("POST", path, NOTHING | fields)
    assert response.code == 400
    assert message in neighbour_error(response)


@pytest.mark.parametrize("field", ["content", "text"])
async def test_texts_to_tokenize_may_be_long(standalone: Fetch, field: str) -> None:
    response = await standalone("POST", "/api/tokenize", NOTHING | {field: "x" * (4 * 2**20)})
    assert (response.code, "not found" in error(response)) == (404, True)
    response = await standalone("POST", "/api/tokenize", NOTHING | {field: "x" * (4 * 2**20 + 1)})
    assert (response.code, error(response)) == (400, "content must have 4194304 bytes at most")


LISTS = '{"a": [' + "[]," * 600_000 + "[]]}"
CALL = {"name": "f", "arguments": LISTS}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (
            "/v1/chat/completions",
            {"messages": [{"role": "assistant", "tool_calls": [{"function": CALL}]}]},
        ),
        ("/v1/responses", {"input": [CALL | {"type": "function_call", "call_id": "1"}]}),
    ],
)
async def test_json_within_texts_counts(
    standalone: Fetch, path: str, fields: dict[str, Any]
) -> None:
    response = await standalone("POST", path, NOTHING | fields)
    expected = "JSON values in arguments must be 500000 at most"
    assert (response.code, neighbour_error(response)) == (400, expected)


async def test_a_table_of_ten_thousand_texts_is_accepted(standalone: Fetch) -> None:
    rows = [f"A review of some length, number {i}. " * 20 for i in range(10_000)]
    response = await standalone("POST", "/api/embed", NOTHING | {"input": rows})
    assert (response.code, "not found" in error(response)) == (404, True)


async def test_long_stop_strings_are_refused(ollama_store: Path, listening: Any) -> None:
    fetch = fetcher(await listening(OllamaServer(models_dir=str(ollama_store))), {})
    body = generate(stream=True, options={"stop": ["x" * 10_000] * 2})
    response = await fetch("POST", "/api/generate", body)
    assert (response.code, error(response)) == (400, "stop must have 16384 bytes at most")
    response = await fetch("POST", "/api/generate", generate(options={"stop": ["x"] * 257}))
    assert (response.code, error(response)) == (400, "stop must be 256 at most")
    assert json.loads((await fetch("GET", "/api/ps")).body) == {"models": []}
