"""POST /v1/chat/completions over HTTP, by hand and by OpenAI's own client."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from api_client import QUESTION, Fetch, events, wait_until
from recorded import THOUGHTFUL, TOKENS, TWO_CALLS, WEATHER, WITH_LOGPROBS, play
from tornado.httpclient import HTTPResponse

from jupyter_ollama.config import OllamaServer

PATH = "/v1/chat/completions"
GREEDY = {"temperature": 0, "max_completion_tokens": 12, "num_ctx": 512}
RANDOM = {"temperature": 2, "max_completion_tokens": 8}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": WEATHER}}
    for name in ("weather", "clock")
]


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "smollm2", "messages": [QUESTION], **GREEDY} | fields


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


def texts(response: HTTPResponse) -> list[str]:
    assert response.code == 200, response.body
    choices = json.loads(response.body)["choices"]
    assert [choice["index"] for choice in choices] == list(range(len(choices)))
    return [choice["message"]["content"] for choice in choices]


async def test_the_whole_answer(either: Fetch) -> None:
    response = await either("POST", PATH, chat(model="SmolLM2"))
    assert (response.code, response.headers["Content-Type"]) == (
        200,
        "application/json; charset=utf-8",
    )
    body = json.loads(response.body)
    assert body["id"].startswith("chatcmpl-")
    assert (body["object"], body["model"]) == ("chat.completion", "SmolLM2")
    [choice] = body["choices"]
    assert choice.keys() == {"index", "message", "logprobs", "finish_reason"}
    assert choice["logprobs"] is None
    assert list(choice["message"]) == ["role", "content", "refusal", "annotations"]
    assert (choice["message"]["refusal"], choice["message"]["annotations"]) == (None, [])
    assert "Paris" in choice["message"]["content"]
    assert choice["finish_reason"] == "length"
    used = body["usage"]
    assert (used["completion_tokens"], used["prompt_tokens_details"]["cached_tokens"]) == (12, 0)
    assert used["total_tokens"] == used["prompt_tokens"] + 12
    assert used["completion_tokens_details"] == {"reasoning_tokens": 0}
    again = json.loads((await either("POST", PATH, chat())).body)
    cached = again["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert 0 < cached < used["prompt_tokens"] == again["usage"]["prompt_tokens"]
    assert again["id"] != body["id"]


async def test_the_chunks_of_a_stream(either: Fetch) -> None:
    [text] = texts(await either("POST", PATH, chat()))
    response = await either("POST", PATH, chat(stream=True))
    assert response.headers["Cache-Control"] == "no-cache"
    assert "X-Consumed-Content-Encoding" not in response.headers  # nothing was compressed
    *chunks, last, done = events(response)
    assert done == {"done": True}
    head = {(c["id"], c["created"], c["object"], c["model"]) for c in [*chunks, last]}
    assert len(head) == 1
    assert "usage" not in last
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [list(delta) for delta in deltas] == [["role", "content"]] + [["content"]] * (
        len(deltas) - 1
    )
    assert len(deltas) > 1
    assert "".join(delta["content"] for delta in deltas) == text
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * len(chunks)
    assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]


async def test_usage_at_the_end_of_a_stream(standalone: Fetch) -> None:
    asked = chat(stream=True, stream_options={"include_usage": True})
    *chunks, last, _ = events(await standalone("POST", PATH, asked))
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 12


async def test_several_choices(standalone: Fetch) -> None:
    asked = chat(n=3, seed=5, temperature=2)
    three = await standalone("POST", PATH, asked)
    assert len(set(texts(three))) > 1
    used = json.loads(three.body)["usage"]
    one = await standalone("POST", PATH, chat(seed=5, temperature=2))
    assert used["prompt_tokens"] == json.loads(one.body)["usage"]["prompt_tokens"]
    assert used["completion_tokens"] > json.loads(one.body)["usage"]["completion_tokens"]
    streamed = await standalone("POST", PATH, asked | {"stream": True})
    choices = [chunk["choices"][0] for chunk in events(streamed)[:-1]]
    for index in range(3):
        own = [choice for choice in choices if choice["index"] == index]
        assert [choice["delta"].get("role") for choice in own] == ["assistant"] + [None] * (
            len(own) - 1
        )
        assert [choice["finish_reason"] is None for choice in own] == [True] * (len(own) - 1) + [
            False
        ]


async def test_each_choice_has_a_seed_of_its_own(
    standalone: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = play(monkeypatch, THOUGHTFUL)
    for seed, seeds in ((5, [5, 6, 7]), (None, [None, None, None])):
        recording.requests.clear()
        await standalone("POST", PATH, chat(n=3, seed=seed))
        assert [request.options.get("seed") for request in recording.requests] == seeds


async def test_options_keep_their_places(standalone: Fetch) -> None:
    [text] = texts(await standalone("POST", PATH, chat()))
    stop = text.split()[3]
    for given in (stop, [stop, "nowhere"]):
        response = await standalone("POST", PATH, chat(stop=given))
        assert texts(response) == [text.partition(stop)[0]]
        assert json.loads(response.body)["choices"][0]["finish_reason"] == "stop"
    response = await standalone("POST", PATH, chat(max_tokens=2, max_completion_tokens=None))
    assert json.loads(response.body)["usage"]["completion_tokens"] == 2
    asked = chat(max_tokens=2, max_completion_tokens=3)
    response = await standalone("POST", PATH, asked)
    assert json.loads(response.body)["usage"]["completion_tokens"] == 3
    response = await standalone("POST", PATH, asked | {"options": {"num_predict": 4}})
    assert json.loads(response.body)["usage"]["completion_tokens"] == 4


async def test_the_fields_of_ollama(standalone: Fetch, ollama_server: OllamaServer) -> None:
    await standalone("POST", PATH, chat(num_ctx=768, keep_alive=-1))
    [loaded] = ollama_server.scheduler.loaded()
    assert loaded.num_ctx == 768
    assert loaded.expires_at.year > 2300
    long = [{"role": "user", "content": "word " * 1000}]
    response = await standalone("POST", PATH, chat(num_ctx=768, messages=long, truncate=True))
    assert int(response.headers["X-Ollama-Truncated"]) > 0
    response = await standalone("POST", PATH, chat(num_ctx=768, messages=long, truncate=False))
    assert response.code == 400
    response = await standalone("POST", PATH, chat(format={"grammar": 'start: "tick"'}))
    assert texts(response) == ["tick"]


async def test_the_temperature_of_a_model_is_kept(standalone: Fetch) -> None:
    create = {"model": "calm", "from": "smollm2", "parameters": {"temperature": 0}}
    await standalone("POST", "/api/create", create | {"stream": False})
    story = {"messages": [{"role": "user", "content": "Tell me a story."}]}
    greedy = texts(await standalone("POST", PATH, chat(**story)))
    for seed in (1, 2):
        free = chat(temperature=None, seed=seed, **story)
        assert texts(await standalone("POST", PATH, free | {"model": "calm"})) == greedy
    different = [texts(await standalone("POST", PATH, free | {"seed": seed})) for seed in range(4)]
    assert any(text != greedy for text in different)


async def test_structured_answers(openai_client: openai.AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Oslo"]}}}
    schema |= {"required": ["city"], "additionalProperties": False}
    answer = await openai_client.chat.completions.create(
        model="smollm2",
        messages=[QUESTION],
        max_tokens=40,
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    assert json.loads(answer.choices[0].message.content or "")["city"] in ("Paris", "Oslo")


async def test_the_client_of_openai(
    standalone_url: str, jupyter_url: str, jp_auth_header: dict[str, str]
) -> None:
    token = jp_auth_header["Authorization"].split()[-1]
    for url, key in ((standalone_url, "any"), (jupyter_url + "/ollama", token)):
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=key, max_retries=0) as client:
            asked: Any = {"model": "smollm2", "messages": [QUESTION], "stop": ","}
            asked |= {"temperature": 0, "extra_body": {"num_ctx": 512}}
            whole = await client.chat.completions.create(**asked)
            streamed = ""
            async with client.chat.completions.stream(**asked) as stream:
                async for event in stream:
                    if event.type == "content.delta":
                        streamed += event.delta
                final = (await stream.get_final_completion()).choices[0]
            text = whole.choices[0].message.content
            assert text == streamed == final.message.content
            assert final.finish_reason == "stop"
            with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
                await client.chat.completions.create(model="nope", messages=[QUESTION])
    strange = openai.AsyncOpenAI(base_url=jupyter_url + "/ollama/v1", api_key="x", max_retries=0)
    async with strange as client:
        with pytest.raises(openai.PermissionDeniedError, match="send the server's token"):
            await client.models.list()


async def test_a_failure_in_a_stream_is_reported(
    openai_client: openai.AsyncOpenAI, standalone: Fetch, ollama_server: OllamaServer
) -> None:
    stream = await openai_client.chat.completions.create(
        model="smollm2", messages=[QUESTION], stream=True, extra_body={"num_ctx": 8192}
    )
    chunks = aiter(stream)
    assert (await anext(chunks)).choices[0].delta.role == "assistant"
    [loaded] = ollama_server.scheduler.loaded()
    psutil.Process(loaded.runner.pid).kill()
    with pytest.raises(openai.APIError, match="model runner has unexpectedly stopped"):
        [chunk async for chunk in chunks]


async def test_a_stream_that_is_left_frees_all_its_places(
    openai_client: openai.AsyncOpenAI, standalone: Fetch, ollama_server: OllamaServer
) -> None:
    stream = await openai_client.chat.completions.create(
        model="smollm2",
        messages=[QUESTION],
        stream=True,
        n=3,
        extra_body={"options": {"num_predict": 100_000, "temperature": 2, "num_ctx": 512}},
    )
    await anext(aiter(stream))
    [loaded] = ollama_server.scheduler.loaded()
    assert loaded.users == 3
    await stream.close()
    await asyncio.wait_for(wait_until(lambda: loaded.users == 0), 10)
    assert ollama_server.requests_running == 0


async def test_tool_calls_and_thoughts_reach_the_client(
    openai_client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = play(monkeypatch, TWO_CALLS)
    asked: Any = {"model": "smollm2", "messages": [QUESTION], "tools": TOOLS}
    whole = (await openai_client.chat.completions.create(**asked)).choices[0]
    async with openai_client.chat.completions.stream(**asked) as stream:
        async for _ in stream:
            pass
        streamed = (await stream.get_final_completion()).choices[0]
    for choice in (whole, streamed):
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == "Let me see."
        assert choice.message.reasoning == "Look it up."
        assert choice.message.refusal is None
        calls = [
            (call.id, call.type, call.function.name, call.function.arguments)
            for call in choice.message.tool_calls or []
            if call.type == "function"
        ]
        assert calls == [
            ("call_weather0", "function", "weather", '{"city":"Oslo"}'),
            ("call_weather1", "function", "weather", '{"city":"Rome"}'),
            ("call_clock2", "function", "clock", "{}"),
        ]
    assert [request.tools for request in recording.requests] == [TOOLS, TOOLS]


async def test_thoughts_and_text_come_in_chunks_of_their_own(
    standalone: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [{**THOUGHTFUL[0], "message": {"thinking": "Hm.", "content": "Sun."}}, THOUGHTFUL[-1]]
    play(monkeypatch, both)
    *chunks, _ = events(await standalone("POST", PATH, chat(stream=True)))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "reasoning": "Hm."},
        {"content": "Sun."},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [True, False])
async def test_an_empty_answer_has_a_message(
    standalone: Fetch, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    play(monkeypatch, THOUGHTFUL[-1:])
    response = await standalone("POST", PATH, chat(stream=stream))
    if stream:
        first, end, _ = events(response)
        assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert end["choices"][0]["finish_reason"] == "stop"
    else:
        assert texts(response) == [""]


async def test_logprobs_reach_the_client(
    openai_client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = play(monkeypatch, WITH_LOGPROBS)
    asked: Any = {"model": "smollm2", "messages": [QUESTION], "logprobs": True, "top_logprobs": 2}
    whole = (await openai_client.chat.completions.create(**asked)).choices[0].logprobs
    found: list[Any] = []
    async for chunk in await openai_client.chat.completions.create(**asked, stream=True):
        if chunk.choices and chunk.choices[0].logprobs:
            found += chunk.choices[0].logprobs.content or []
    assert whole
    expected = [{"top_logprobs": [], **token} for token in TOKENS]
    for tokens in (whole.content or [], found):
        assert [token.model_dump() for token in tokens] == expected
    assert all(
        (request.logprobs, request.top_logprobs) == (True, 2) for request in recording.requests
    )
