"""The ids of requests, and their cancellation by DELETE /api/requests/{id}."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from api_client import GREEDY, QUESTION, Fetch, chat, error, events, fetcher, generate, lines
from tornado.httpclient import HTTPResponse

from jupyter_ollama.config import OllamaServer

LONG = {"options": GREEDY | {"num_predict": 3000, "num_ctx": 4096}}
CANCELLED = {"error": "request canceled"}


@pytest.fixture
def models_dir(ollama_store: Path) -> Path:
    return ollama_store


async def begin(
    fetch: Fetch, path: str, body: dict[str, Any], name: str
) -> asyncio.Task[HTTPResponse]:
    """Start a request; return its task once the first part of the answer has arrived."""
    begun = asyncio.Event()
    chunks: list[bytes] = []

    def take(chunk: bytes) -> None:
        chunks.append(chunk)
        begun.set()

    async def run() -> HTTPResponse:
        headers = {"X-Request-Id": name}
        response = await fetch("POST", path, body, headers=headers, streaming_callback=take)
        response._body = b"".join(chunks)
        return response

    task = asyncio.create_task(run())
    await asyncio.wait_for(begun.wait(), 60)
    return task


async def cancel(fetch: Fetch, name: str) -> None:
    """Cancel a request that is registered or will be soon."""
    for _ in range(500):
        response = await fetch("DELETE", f"/api/requests/{name}")
        if response.code == 200:
            assert response.body == b""
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the request was never registered")


async def test_every_answer_of_a_model_has_an_id(either: Fetch) -> None:
    embed = {"model": "all-minilm", "input": "Hi"}
    openai = {"model": "smollm2", "messages": [QUESTION], "max_tokens": 2}
    for path, body in (
        ("/api/generate", generate()),
        ("/api/chat", chat(stream=False)),
        ("/api/embed", embed),
        ("/v1/chat/completions", openai),
        ("/v1/messages", openai),
        ("/v1/embeddings", embed),
        ("/api/chat", b"{"),
    ):
        own = await either("POST", path, body, headers={"X-Request-Id": "job-7:a.b_c"})
        assert own.headers.get_list("X-Request-Id") == ["job-7:a.b_c"]
    assert own.code == 400
    ids = set()
    for strange in ("", "a b", "x" * 129, "a/b", "\u00e9"):
        response = await either("POST", "/api/chat", b"{", headers={"X-Request-Id": strange})
        ids.add(response.headers["X-Request-Id"])
    assert len(ids) == 5
    assert all(len(made) == 32 and made.isalnum() for made in ids)
    assert "X-Request-Id" not in (await either("GET", "/api/tags")).headers


async def test_a_stream_ends_with_an_error_line(either: Fetch) -> None:
    running = await begin(either, "/api/generate", generate(**LONG), "mine")
    await cancel(either, "mine")
    response = await running
    *parts, last = lines(response)
    assert response.code == 200
    assert parts
    assert not any(part["done"] for part in parts)
    assert last == CANCELLED
    again = await either("DELETE", "/api/requests/mine")
    assert (again.code, error(again)) == (404, "request 'mine' not found")
    after = await either("POST", "/api/generate", generate(stream=False))
    assert json.loads(after.body)["done"] is True


async def test_a_stream_of_openais_api_ends_with_an_error_event(standalone: Fetch) -> None:
    body = {"model": "smollm2", "messages": [QUESTION], "stream": True} | LONG
    running = await begin(standalone, "/v1/chat/completions", body, "theirs")
    await cancel(standalone, "theirs")
    found = [event for event in events(await running) if "error" in event]
    assert [event["error"]["message"] for event in found] == ["request canceled"]


async def test_whole_answers_and_waiting_requests_end_with_a_status(
    standalone: Fetch, ollama_server: OllamaServer
) -> None:
    ollama_server.num_parallel = 1
    running = await begin(standalone, "/api/generate", generate(**LONG), "runs")
    headers = {"X-Request-Id": "waits"}
    body = generate(**LONG, stream=False)
    waiting = asyncio.create_task(standalone("POST", "/api/generate", body, headers=headers))
    await cancel(standalone, "waits")
    ended = await waiting
    assert (ended.code, error(ended), running.done()) == (499, "request canceled", False)
    await cancel(standalone, "runs")
    assert lines(await running)[-1] == CANCELLED
    whole = asyncio.create_task(standalone("POST", "/api/generate", body, headers=headers))
    await cancel(standalone, "waits")
    assert (await whole).code == 499
    assert ollama_server.requests_running == 0


async def test_requests_of_the_same_id_end_together(standalone: Fetch) -> None:
    both = [await begin(standalone, "/api/chat", chat(**LONG), "job") for _ in range(2)]
    await cancel(standalone, "job")
    assert [lines(response)[-1] for response in await asyncio.gather(*both)] == [CANCELLED] * 2


async def test_a_client_without_access_cancels_nothing(jupyter: Fetch, jupyter_url: str) -> None:
    running = await begin(jupyter, "/api/generate", generate(**LONG), "mine")
    stranger = fetcher(jupyter_url + "/ollama", {})
    assert (await stranger("DELETE", "/api/requests/mine")).code == 403
    assert not running.done()
    await cancel(jupyter, "mine")
    assert lines(await running)[-1] == CANCELLED


async def test_pages_of_other_origins_may_choose_an_id(standalone: Fetch) -> None:
    response = await standalone("OPTIONS", "/api/chat", headers={"Origin": "app://obsidian.md"})
    assert "X-Request-Id" in response.headers["Access-Control-Allow-Headers"].split(",")
