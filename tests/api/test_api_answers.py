"""Generate and chat over HTTP, with a real model behind them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from api_client import GREEDY, QUESTION, Fetch, chat, generate, lines, wait_until

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.engine.events import Text
from jupyter_ollama.engine.runner_client import RunnerClient

METRICS = [
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
]


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


async def test_generate_streams_and_ends(either: Fetch) -> None:
    response = await either("POST", "/api/generate", generate(model="SmolLM2"))
    assert (response.code, response.headers["Content-Type"]) == (200, "application/x-ndjson")
    *parts, last = lines(response)
    assert len(parts) > 1
    for part in parts:
        assert list(part) == ["model", "created_at", "response", "done"]
        assert (part["model"], part["done"]) == ("SmolLM2", False)
        assert part["response"]
    head = ["model", "created_at", "response", "done", "done_reason", "context"]
    assert list(last) == [*head, *METRICS]
    assert (last["response"], last["done"], last["done_reason"]) == ("", True, "length")
    assert last["eval_count"] == 12
    assert len(last["context"]) == last["prompt_eval_count"] + last["eval_count"]
    assert all(type(last[name]) is int and last[name] > 0 for name in METRICS)
    assert last["total_duration"] > last["eval_duration"]


async def test_the_whole_answer_is_the_sum_of_its_parts(standalone: Fetch) -> None:
    for path, body in (("/api/generate", generate()), ("/api/chat", chat())):
        parts = lines(await standalone("POST", path, body))
        response = await standalone("POST", path, body | {"stream": False})
        assert response.headers["Content-Type"] == "application/json; charset=utf-8"
        whole = json.loads(response.body)
        for answer in (whole, parts[-1]):
            answer.pop("prompt_eval_cached_count", None)
        assert list(whole) == list(parts[-1])
        if path == "/api/chat":
            text = "".join(part["message"]["content"] for part in parts)
            assert whole["message"] == {"role": "assistant", "content": text}
        else:
            assert whole["response"] == "".join(part["response"] for part in parts)
        assert whole["eval_count"] == parts[-1]["eval_count"]


async def test_chat_streams_and_ends(either: Fetch) -> None:
    *parts, last = lines(await either("POST", "/api/chat", chat()))
    for part in parts:
        assert list(part) == ["model", "created_at", "message", "done"]
        assert list(part["message"]) == ["role", "content"]
    assert list(last) == ["model", "created_at", "message", "done", "done_reason", *METRICS]
    assert last["message"] == {"role": "assistant", "content": ""}


async def test_a_context_continues_where_it_ended(standalone: Fetch) -> None:
    first = json.loads((await standalone("POST", "/api/generate", generate(stream=False))).body)
    body = generate(prompt="And then?", context=first["context"], stream=False)
    second = json.loads((await standalone("POST", "/api/generate", body)).body)
    assert second["prompt_eval_count"] > len(first["context"])
    assert second["context"][: len(first["context"])] == first["context"]


async def test_options_of_the_model_and_of_the_request(standalone: Fetch) -> None:
    parameters = {"num_predict": 3, "temperature": 0, "num_ctx": 512}
    create = {"model": "short", "from": "smollm2", "parameters": parameters, "stream": False}
    await standalone("POST", "/api/create", create)
    body = {"model": "short", "prompt": "Once upon a time", "stream": False}
    answer = json.loads((await standalone("POST", "/api/generate", body)).body)
    assert answer["eval_count"] == 3
    body |= {"options": {"num_predict": 5, "temperature": None, "no_such_option": 1}}
    answer = json.loads((await standalone("POST", "/api/generate", body)).body)
    assert answer["eval_count"] == 5


async def test_load_and_unload_answers(standalone: Fetch, ollama_server: OllamaServer) -> None:
    message = {"role": "assistant", "content": ""}
    for path, key, empty in (("generate", "response", ""), ("chat", "message", message)):
        for extra, reason in (
            ({"options": {"num_ctx": 512}}, "load"),
            ({"keep_alive": 0}, "unload"),
        ):
            response = await standalone("POST", f"/api/{path}", {"model": "smollm2"} | extra)
            assert response.headers["Content-Type"] == "application/json; charset=utf-8"
            answer = json.loads(response.body)
            assert list(answer) == ["model", "created_at", key, "done", "done_reason"]
            assert (answer[key], answer["done"], answer["done_reason"]) == (empty, True, reason)
    response = await standalone("POST", "/api/chat", {"model": "smollm2", "keep_alive": 0})
    assert json.loads(response.body)["done_reason"] == "unload"


@pytest.mark.parametrize(("path", "body"), [("/api/generate", generate()), ("/api/chat", chat())])
async def test_cached_prompt_tokens_are_reported(
    standalone: Fetch, path: str, body: dict[str, Any]
) -> None:
    first, again = [lines(await standalone("POST", path, body))[-1] for _ in range(2)]
    assert "prompt_eval_cached_count" not in first
    assert again["prompt_eval_count"] == first["prompt_eval_count"]
    assert 0 < again["prompt_eval_cached_count"] < again["prompt_eval_count"]
    place = list(again).index("prompt_eval_cached_count")
    assert list(again)[place - 1] == "prompt_eval_count"


async def test_a_whole_answer_crosses_the_pipe_as_one_text(
    standalone: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Text] = []
    generate_ = RunnerClient.generate

    async def listen(*arguments: Any, **named: Any) -> AsyncIterator[Any]:
        async with aclosing(generate_(*arguments, **named)) as source:
            async for event in source:
                if isinstance(event, Text):
                    events.append(event)
                yield event

    monkeypatch.setattr(RunnerClient, "generate", listen)
    response = await standalone("POST", "/api/generate", generate(stream=False))
    assert [event.text for event in events] == [json.loads(response.body)["response"]]
    events.clear()
    parts = lines(await standalone("POST", "/api/generate", generate()))
    assert [event.text for event in events] == [part["response"] for part in parts[:-1]]
    assert len(events) > 1


async def ask_and_leave(
    url: str, body: dict[str, Any], until: bytes | Callable[[], bool], headers: str = ""
) -> None:
    """POST to /api/generate below ``url``; disconnect once ``until`` is received or true."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.port)
    raw = json.dumps(body).encode()
    head = f"POST {parts.path}/api/generate HTTP/1.1\r\nHost: localhost\r\n{headers}"
    writer.write(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
    if callable(until):
        await asyncio.wait_for(wait_until(until), 10)
    else:
        await reader.readuntil(until)
    writer.close()


ENDLESS = GREEDY | {"num_predict": 100_000, "temperature": 2.0, "seed": 1}


async def test_a_client_that_disconnects_frees_its_slot(
    standalone: Fetch, standalone_url: str, ollama_server: OllamaServer
) -> None:
    await standalone("POST", "/api/generate", generate(prompt=""))
    await ask_and_leave(standalone_url, generate(options=ENDLESS), b'"done":false')
    [loaded] = ollama_server.scheduler.loaded()
    assert (loaded.users, ollama_server.requests_running) == (1, 1)
    await asyncio.wait_for(wait_until(lambda: loaded.users == 0), 10)
    assert (await standalone("POST", "/api/generate", generate())).code == 200


@pytest.mark.parametrize("until", [b"", b'"done":false'], ids=["load", "answer"])
async def test_leaving_a_jupyter_server_is_no_error_in_its_log(
    jupyter: Fetch,
    jupyter_url: str,
    jp_auth_header: dict[str, str],
    jp_serverapp: Any,
    caplog: pytest.LogCaptureFixture,
    until: bytes,
    children: Callable[[], list[psutil.Process]],
) -> None:
    apps = jp_serverapp.extension_manager.extension_apps["jupyter_ollama"]
    [server] = [app.server for app in apps]
    headers = f"Authorization: {jp_auth_header['Authorization']}\r\n"
    ready = until or (lambda: bool(children()))
    await ask_and_leave(jupyter_url + "/ollama", generate(options=ENDLESS), ready, headers)
    assert server.requests_running == 1
    await asyncio.wait_for(wait_until(lambda: not server.requests_running), 10)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "499 POST" in caplog.text
    assert (await jupyter("POST", "/api/generate", generate())).code == 200


async def test_tokens_count_as_activity(jupyter: Fetch, jp_web_app: Any) -> None:
    settings = jp_web_app.settings
    marks: list[Any] = []

    def mark(chunk: bytes) -> None:
        marks.append(settings["api_last_activity"])
        settings["api_last_activity"] = settings["started"]

    await jupyter("POST", "/api/generate", generate(), streaming_callback=mark)
    assert len(marks) > 1
    assert all(moment > settings["started"] for moment in marks)


async def test_a_whole_answer_counts_as_activity_while_it_is_made(
    jupyter: Fetch, jp_web_app: Any, jp_serverapp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    [app] = jp_serverapp.extension_manager.extension_apps["jupyter_ollama"]
    server = app.server
    monkeypatch.setattr("jupyter_ollama.api.exchange.TOUCH_SECONDS", 0.02)
    await jupyter("POST", "/api/generate", generate(prompt=""))
    settings = jp_web_app.settings
    body = generate(options=ENDLESS | {"num_predict": 40}, stream=False)
    answer = asyncio.ensure_future(jupyter("POST", "/api/generate", body))
    await wait_until(lambda: server.requests_running == 1)
    settings["api_last_activity"] = settings["started"]
    await asyncio.wait_for(
        wait_until(lambda: settings["api_last_activity"] != settings["started"]), 10
    )
    assert not answer.done()
    assert (await answer).code == 200


async def test_running_requests_keep_an_idle_server_up(jupyter: Fetch, jp_serverapp: Any) -> None:
    manager = jp_serverapp.extension_manager
    seen: list[bool] = []
    assert not manager.any_activity()
    await jupyter(
        "POST",
        "/api/chat",
        chat(),
        streaming_callback=lambda _: seen.append(manager.any_activity()),
    )
    assert seen[0]
    assert not manager.any_activity()


async def test_the_python_client_of_ollama_talks(
    standalone_url: str, jupyter_url: str, jp_auth_header: dict[str, str]
) -> None:
    import ollama

    token = {"Authorization": f"Bearer {jp_auth_header['Authorization'].split()[-1]}"}
    for host, headers in ((standalone_url, {}), (jupyter_url + "/ollama", token)):
        async with ollama.AsyncClient(host=host, headers=headers) as client:
            stream = await client.chat("smollm2", [QUESTION], options=GREEDY, stream=True)
            streamed = "".join([part.message.content or "" async for part in stream])
            whole = await client.chat("smollm2", [QUESTION], options=GREEDY)
            assert whole.message.content == streamed
            answer = await client.generate("smollm2", "Hi", options=GREEDY)
            assert answer.eval_count
            [running] = (await client.ps()).models
            assert running.name == "smollm2:latest"
            with pytest.raises(ollama.ResponseError) as caught:
                await client.chat("nope", [QUESTION])
            assert (caught.value.status_code, caught.value.error) == (404, "model 'nope' not found")


async def test_stopping_the_extension_ends_its_runners(jupyter: Fetch, jp_serverapp: Any) -> None:
    [extension] = jp_serverapp.extension_manager.extension_apps["jupyter_ollama"]
    await jupyter("POST", "/api/generate", generate(prompt=""))
    [loaded] = extension.server.scheduler.loaded()
    process = psutil.Process(loaded.runner.pid)
    await extension.stop_extension()
    assert not process.is_running()
    assert extension.server.scheduler.loaded() == []
