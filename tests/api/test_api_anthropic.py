"""POST /v1/messages and its count_tokens over HTTP, by hand and by Anthropic's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import psutil
import pytest
from api_client import QUESTION, Fetch, events, neighbour_error
from recorded import THOUGHTFUL, TWO_CALLS, WEATHER, play

from jupyter_ollama.config import OllamaServer

PATH = "/v1/messages"
TOOL = {"name": "weather", "description": "Tells it.", "input_schema": WEATHER}


def usage(read: int, cached: int, said: int, thought: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": read,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"thinking_tokens": thought},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": None,
    }


def ask(**fields: Any) -> dict[str, Any]:
    asked = {"model": "smollm2", "messages": [QUESTION], "temperature": 0, "num_ctx": 512}
    return asked | {"max_tokens": 12} | fields


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


@pytest.fixture
def client(standalone_url: str, jp_asyncio_loop: Any) -> Iterator[anthropic.AsyncAnthropic]:
    client = anthropic.AsyncAnthropic(base_url=standalone_url, api_key="none", max_retries=0)
    yield client
    jp_asyncio_loop.run_until_complete(client.close())


async def test_the_whole_message(either: Fetch) -> None:
    body = json.loads((await either("POST", PATH, ask())).body)
    assert body["id"].startswith("msg_")
    assert (body["type"], body["role"], body["model"]) == ("message", "assistant", "smollm2")
    [block] = body["content"]
    assert (block["type"], block.keys()) == ("text", {"type", "text", "citations"})
    assert block["citations"] is None
    assert "Paris" in block["text"]
    assert (body["stop_reason"], body["stop_sequence"]) == ("max_tokens", None)
    assert (body["stop_details"], body["container"]) == (None, None)
    read = body["usage"]["input_tokens"]
    assert body["usage"] == usage(read, 0, 12)
    again = json.loads((await either("POST", PATH, ask())).body)["usage"]
    assert again["cache_read_input_tokens"] > 0
    assert again["input_tokens"] + again["cache_read_input_tokens"] == read


async def test_the_events_of_a_stream(standalone: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, THOUGHTFUL)
    found = events(await standalone("POST", PATH, ask(stream=True)))
    message = found[0].pop("message")
    assert (message["content"], message["stop_reason"]) == ([], None)
    assert (message["stop_details"], message["container"]) == (None, None)
    assert message["usage"] == usage(message["usage"]["input_tokens"], 0, 0)
    assert message["usage"]["input_tokens"] > 0
    assert found == [
        {"type": "message_start"},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "thinking_delta", "thinking": text},
            }
            for text in ("The user ", "asks.")
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "content_block_start",
            "index": 1,
            "content_block": {"type": "text", "text": "", "citations": None},
        },
        *(
            {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "text_delta", "text": text},
            }
            for text in ("It is ", "sunny.")
        ),
        {"type": "content_block_stop", "index": 1},
        {
            "type": "message_delta",
            "delta": {
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "stop_details": None,
                "container": None,
            },
            "usage": usage(5, 15, 7, 3),
        },
        {"type": "message_stop"},
    ]


async def test_the_client_of_anthropic(
    standalone_url: str, jupyter_url: str, jp_auth_header: dict[str, str]
) -> None:
    token = jp_auth_header["Authorization"].split()[-1]
    for url, key in ((standalone_url, "any"), (jupyter_url + "/ollama", token)):
        async with anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0) as client:
            asked: Any = {"model": "smollm2", "messages": [QUESTION], "max_tokens": 12}
            # Newer clients have no temperature of their own.
            asked |= {"system": "Be brief.", "extra_body": {"num_ctx": 512, "temperature": 0}}
            whole = await client.messages.create(**asked)
            async with client.messages.stream(**asked) as stream:
                deltas = [text async for text in stream.text_stream]
                streamed = await stream.get_final_message()
            assert whole.content[0].text == streamed.content[0].text == "".join(deltas)
            assert len(deltas) > 1
            assert streamed.stop_reason == whole.stop_reason == "max_tokens"
            assert streamed.usage.output_tokens == 12
            del asked["max_tokens"]
            counted = await client.messages.count_tokens(**asked)
            used = whole.usage
            assert counted.input_tokens == used.input_tokens + used.cache_read_input_tokens
            with pytest.raises(anthropic.NotFoundError, match="model 'nope' not found"):
                await client.messages.create(model="nope", max_tokens=1, messages=[QUESTION])
    url = jupyter_url + "/ollama"
    async with anthropic.AsyncAnthropic(base_url=url, api_key="x", max_retries=0) as client:
        with pytest.raises(anthropic.PermissionDeniedError, match="Bearer <token>"):
            await client.messages.create(model="smollm2", max_tokens=1, messages=[QUESTION])


async def test_stops_and_extensions(standalone: Fetch) -> None:
    body = json.loads((await standalone("POST", PATH, ask(stop_sequences=["Paris"]))).body)
    assert body["stop_reason"] == "stop_sequence"
    assert "Paris" not in body["content"][0]["text"]
    grammar = ask(format={"grammar": 'start: "tick"'})
    body = json.loads((await standalone("POST", PATH, grammar)).body)
    assert body["content"] == [{"type": "text", "text": "tick", "citations": None}]
    schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}
    asked = ask(output_config={"format": {"type": "json_schema", "schema": schema}}, max_tokens=40)
    body = json.loads((await standalone("POST", PATH, asked)).body)
    assert json.loads(body["content"][0]["text"])["a"] == 1


async def test_calls_and_thoughts_reach_the_client(
    client: anthropic.AsyncAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = play(monkeypatch, TWO_CALLS)
    asked: Any = {"model": "smollm2", "messages": [QUESTION], "max_tokens": 99, "tools": [TOOL]}
    whole = await client.messages.create(**asked)
    async with client.messages.stream(**asked) as stream:
        streamed = await stream.get_final_message()
    for message in (whole, streamed):
        thought, text, *calls = message.content
        assert (thought.thinking, text.text) == ("Look it up.", "Let me see.")
        assert [(call.type, call.id, call.name, call.input) for call in calls] == [
            ("tool_use", "call_weather0", "weather", {"city": "Oslo"}),
            ("tool_use", "call_weather1", "weather", {"city": "Rome"}),
            ("tool_use", "call_clock2", "clock", {}),
        ]
        assert {call.caller.type for call in calls} == {"direct"}
        assert message.stop_reason == "tool_use"
    recording.requests.clear()
    result = {"type": "tool_result", "tool_use_id": "call_weather0", "content": "sun"}
    asked["messages"] = [
        QUESTION,
        {"role": "assistant", "content": whole.content},
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
    ]
    await client.messages.create(**asked)
    _, said, heard, more = recording.requests[0].messages
    assert (said.thinking, said.content) == ("Look it up.", "Let me see.")
    assert said.tool_calls[0].function.arguments == {"city": "Oslo"}
    assert (heard.role, heard.tool_name, heard.content) == ("tool", "weather", "sun")
    assert (more.role, more.content) == ("user", "And?")


async def test_a_failure_in_a_stream_is_reported(
    client: anthropic.AsyncAnthropic, ollama_server: OllamaServer
) -> None:
    stream = await client.messages.create(
        model="smollm2",
        messages=[QUESTION],
        max_tokens=8000,
        stream=True,
        extra_body={"num_ctx": 8192},
    )
    found = aiter(stream)
    assert (await anext(found)).type == "message_start"
    [loaded] = ollama_server.scheduler.loaded()
    psutil.Process(loaded.runner.pid).kill()
    with pytest.raises(anthropic.APIStatusError, match="model runner has unexpectedly stopped"):
        [event async for event in found]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": "", "max_tokens": 0}, 400, "model is required"),
        (
            {"max_tokens": 0, "messages": []},
            400,
            "max_tokens is required and must be positive",
        ),
        ({"max_tokens": -1}, 400, "max_tokens is required and must be positive"),
        ({"messages": []}, 400, "messages is required"),
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"model": "all-minilm"}, 400, '"all-minilm" does not support chat'),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_refusals_in_anthropics_form(
    standalone: Fetch, fields: dict[str, Any], status: int, message: str, stream: bool
) -> None:
    response = await standalone("POST", PATH, ask(stream=stream, **fields))
    assert (response.code, neighbour_error(response)) == (status, message)
    kind = {400: "invalid_request_error", 404: "not_found_error"}[status]
    assert json.loads(response.body)["error"]["type"] == kind


async def test_a_model_that_cannot_think_just_answers(standalone: Fetch) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    assert (await standalone("POST", PATH, ask(thinking=thinking))).code == 200
