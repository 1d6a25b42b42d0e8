"""Progress lines before the first text, for requests that ask for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from api_client import GREEDY, Fetch, chat, error, generate, lines
from test_api_requests import begin, cancel

from jupyter_ollama.config import OllamaServer

BOOK = "It was the best of times, it was the worst of times. " * 110


@pytest.fixture
def models_dir(ollama_store: Path) -> Path:
    return ollama_store


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_a_load_and_a_prompt_are_reported(either: Fetch, path: str) -> None:
    options = {"options": GREEDY | {"num_ctx": 4096}, "progress": True}
    question = {"role": "user", "content": BOOK}
    body = (
        chat(messages=[question], **options)
        if path == "/api/chat"
        else generate(prompt=BOOK, **options)
    )
    reported = lines(await either("POST", path, body))
    status = [line for line in reported if "status" in line]
    answer = reported[len(status) :]
    assert reported[: len(status)] == status
    assert list(status[0]) == ["model", "created_at", "status"]
    assert [line["status"] for line in status] == ["loading"] + ["prompt"] * (len(status) - 1)
    prompt = status[1:]
    assert list(prompt[0]) == ["model", "created_at", "status", "completed", "total"]
    assert prompt[0]["completed"] == 0
    assert {line["total"] for line in prompt} == {answer[-1]["prompt_eval_count"]}
    completed = [line["completed"] for line in prompt]
    assert completed == sorted(set(completed))
    assert completed[-1] < prompt[0]["total"]
    assert answer[-1]["done"] is True
    warm = [line.get("status") for line in lines(await either("POST", path, body))]
    assert warm[:2] == ["prompt", None]  # the cache has the prompt


async def test_other_requests_get_no_progress(standalone: Fetch) -> None:
    for more in ({}, {"progress": False}, {"progress": True, "stream": False}):
        response = await standalone("POST", "/api/generate", generate(prompt=BOOK, **more))
        assert all("status" not in line for line in lines(response))


async def test_queue_positions_are_reported(standalone: Fetch, ollama_server: OllamaServer) -> None:
    ollama_server.num_parallel = 1
    long = {"options": GREEDY | {"num_predict": 3000, "num_ctx": 4096}}
    running = await begin(standalone, "/api/generate", generate(**long), "first")
    more = {"options": GREEDY | {"num_ctx": 4096}, "progress": True}
    second = await begin(standalone, "/api/generate", generate(**more), "second")
    third = await begin(standalone, "/api/chat", chat(**more), "third")
    await cancel(standalone, "second")
    await cancel(standalone, "first")
    *waited, ended = lines(await second)
    assert [(line["status"], line["position"]) for line in waited] == [("queued", 1)]
    assert ended == {"error": "request canceled"}
    await running
    reported = [(line.get("status"), line.get("position")) for line in lines(await third)]
    assert reported[:3] == [("queued", 2), ("queued", 1), ("prompt", None)]
    assert ollama_server.scheduler.loaded()[0].users == 0


async def test_a_cancelled_request_leaves_the_queue(
    standalone: Fetch, ollama_server: OllamaServer
) -> None:
    """A lease acquired at the moment its request ends is released."""
    ollama_server.num_parallel = 1
    more = {"options": GREEDY, "progress": True}
    names = [f"job-{index}" for index in range(4)]

    async def ask(name: str) -> None:
        headers = {"X-Request-Id": name}
        await standalone("POST", "/api/generate", generate(**more), headers=headers)

    asked = [asyncio.create_task(ask(name)) for name in names]
    await asyncio.gather(*(cancel(standalone, name) for name in names))
    await asyncio.gather(*asked)
    assert all(loaded.users == 0 for loaded in ollama_server.scheduler.loaded())


async def test_a_faulty_request_gets_an_error_status(standalone: Fetch) -> None:
    response = await standalone("POST", "/api/generate", generate(model="none", progress=True))
    assert (response.code, error(response)) == (404, "model 'none' not found")
