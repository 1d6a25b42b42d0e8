"""What an upstream is sent by each of the two APIs, for requests by all of ours."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from image_files import noise, saved
from shared_server import Shared, sharing
from small_upstream import SmallUpstream, head, small_upstream
from sound_files import tone, wav

ENDS = {
    "ollama": [head(), b'{"message": {"content": "Hi"}, "response": "Hi", "done": true}\n'],
    "openai": [
        head("text/event-stream"),
        b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n',
    ],
}
PARAMETERS = {"type": "object", "properties": {"a": {"type": "string"}}}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": PARAMETERS}} for name in "fg"
]
HI = [{"role": "user", "content": "Hi"}]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
Send = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture(params=["ollama", "openai"])
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def running(api: str, folder: Path) -> AsyncIterator[tuple[SmallUpstream, Shared]]:
    """Run an upstream, and a server that has it."""
    capabilities = ["completion", "tools", "vision", "audio", "thinking", "insert"]
    async with small_upstream() as upstream:
        upstream.says(*ENDS[api])
        given = {"url": upstream.url, "api": api, "capabilities": capabilities}
        async with sharing(models_dir=str(folder), upstreams={"u": given}) as front:
            yield upstream, front


@pytest.fixture
def servers(api: str, tmp_path: Path, jp_asyncio_loop: Any) -> Any:
    context = running(api, tmp_path)
    yield jp_asyncio_loop.run_until_complete(context.__aenter__())
    jp_asyncio_loop.run_until_complete(context.__aexit__(None, None, None))


@pytest.fixture
def send(servers: tuple[SmallUpstream, Shared]) -> Send:
    """Send a request; return what reached the upstream."""
    upstream, front = servers

    async def send(path: str, **body: Any) -> dict[str, Any]:
        response = await front.user("ann")("POST", path, {"model": "m", "stream": False} | body)
        assert response.code == 200, response.body
        sent: dict[str, Any] = upstream.bodies[-1]
        return sent

    return send


async def test_only_named_options_are_sent(send: Send, api: str) -> None:
    bare = await send("/api/chat", messages=HI)
    usual: dict[str, Any] = {"messages": HI, "stream": True}
    if api == "ollama":
        assert bare == usual | {"model": "m:latest"}
    else:
        assert bare == usual | {"model": "m", "stream_options": {"include_usage": True}}
    options = {"temperature": 0.8, "top_k": 40, "seed": 3, "num_predict": 5, "stop": ["x"]}
    options |= {"repeat_penalty": 1.2, "logit_bias": {"5": -1.0}, "num_ctx": 512, "mirostat": 0}
    sent = await send("/api/chat", messages=HI, options=options)
    if api == "ollama":
        assert sent["options"] == options
        return
    given = {name: sent[name] for name in sent.keys() - bare.keys()}
    assert given == {
        "temperature": 0.8,
        "top_k": 40,
        "seed": 3,
        "max_tokens": 5,
        "stop": ["x"],
        "repetition_penalty": 1.2,
        "repeat_penalty": 1.2,
        "logit_bias": {"5": -1.0},
    }


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": HI, "max_tokens": 7, "temperature": 0.1}),
        ("/v1/messages", {"messages": HI, "max_tokens": 7, "temperature": 0.1}),
        ("/v1/responses", {"input": "Hi", "max_output_tokens": 7, "temperature": 0.1}),
        ("/api/generate", {"prompt": "Hi", "options": {"num_predict": 7, "temperature": 0.1}}),
    ],
)
async def test_all_apis_become_one_chat(
    send: Send, api: str, path: str, fields: dict[str, Any]
) -> None:
    sent = await send(path, **fields)
    assert sent["messages"] == HI
    options = sent["options"] if api == "ollama" else sent
    assert options["temperature"] == 0.1
    assert options["num_predict" if api == "ollama" else "max_tokens"] == 7
    assert "top_p" not in options


async def test_formats(send: Send, api: str) -> None:
    whole = await send("/api/chat", messages=HI, format="json")
    schema = await send("/api/chat", messages=HI, format=SCHEMA)
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    other = await send("/v1/chat/completions", messages=HI, response_format=asked)
    if api == "ollama":
        assert (whole["format"], schema["format"], other["format"]) == ("json", SCHEMA, SCHEMA)
    else:
        assert whole["response_format"] == {"type": "json_object"}
        for sent in (schema, other):
            assert sent["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_thinking(send: Send, api: str) -> None:
    found = []
    for think in (None, True, False, "low", {"budget": 100, "level": "high"}):
        sent = await send("/api/chat", messages=HI, think=think)
        found.append(sent.get("think" if api == "ollama" else "reasoning_effort"))
    if api == "ollama":
        assert found == [None, True, False, "low", "high"]
    else:
        assert found == [None, "medium", "none", "low", "high"]


async def test_tools_and_the_choice_among_them(send: Send, api: str) -> None:
    assert (await send("/api/chat", messages=HI, tools=TOOLS))["tools"] == TOOLS
    none = await send("/api/chat", messages=HI, tools=TOOLS, tool_choice="none")
    assert "tools" not in none
    required = await send("/api/chat", messages=HI, tools=TOOLS, tool_choice="required")
    assert (required["tools"], required["tool_choice"]) == (TOOLS, "required")
    assert "format" not in required
    assert "response_format" not in required
    choice = {"type": "function", "function": {"name": "g"}}
    named = await send("/v1/chat/completions", messages=HI, tools=TOOLS, tool_choice=choice)
    assert (named["tools"], named["tool_choice"]) == (TOOLS[1:], "required")


async def test_calls_and_their_results(send: Send, api: str) -> None:
    calls = [{"function": {"name": name, "arguments": {"a": name}}} for name in "fg"]
    results = [{"role": "tool", "content": name, "tool_name": name} for name in "gf"]
    asked = {"role": "assistant", "content": "", "thinking": "Hm", "tool_calls": calls}
    sent = (await send("/api/chat", messages=[*HI, asked, *results], tools=TOOLS))["messages"]
    if api == "ollama":
        assert [one["tool_name"] for one in sent[2:]] == ["g", "f"]
        assert sent[1]["thinking"] == "Hm"
        assert [one["function"]["arguments"] for one in sent[1]["tool_calls"]] == [
            {"a": "f"},
            {"a": "g"},
        ]
        return
    made = {one["id"]: one["function"] for one in sent[1]["tool_calls"]}
    assert len(made) == 2
    assert [made[one["tool_call_id"]]["name"] for one in sent[2:]] == ["g", "f"]
    assert [json.loads(one["arguments"]) for one in made.values()] == [{"a": "f"}, {"a": "g"}]
    assert sent[1]["reasoning_content"] == "Hm"


async def test_images_and_sounds(send: Send, api: str) -> None:
    jpeg = base64.b64encode(saved(noise(8, 8), "JPEG")).decode()
    sound = base64.b64encode(wav(tone(0.1))).decode()
    messages = [{"role": "user", "content": "What?", "images": [jpeg, sound]}]
    (sent,) = (await send("/api/chat", messages=messages))["messages"]
    if api == "ollama":
        assert sent == messages[0]
    else:
        assert sent["content"] == [
            {"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{jpeg}"}},
            {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}},
        ]


async def test_texts_without_a_template(send: Send, servers: Any, api: str) -> None:
    upstream, _ = servers
    if api == "openai":
        choice = {"text": "x", "finish_reason": "stop"}
        data = json.dumps({"choices": [choice]}).encode()
        upstream.says(ENDS[api][0], b"data: " + data + b"\n")
    raw = await send("/api/generate", prompt="Once", raw=True)
    assert raw["prompt"] == "Once"
    assert raw.get("raw", False) is (api == "ollama")
    gap = await send("/api/generate", prompt="Once", suffix="end")
    assert (gap["prompt"], gap["suffix"]) == ("Once", "end")
    path = upstream.asked[-1].split(" ")[1]
    assert path == ("/api/generate" if api == "ollama" else "/v1/completions")


async def test_texts_that_are_no_utf_8(send: Send) -> None:
    sent = await send("/api/chat", messages=[{"role": "user", "content": "a\ud800b"}])
    assert sent["messages"][0]["content"].startswith("a")
