"""POST /v1/responses over HTTP, by hand and by OpenAI's own client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from api_client import Fetch, events, neighbour_error
from recorded import THOUGHTFUL, TOKENS, TWO_CALLS, WEATHER, WITH_LOGPROBS, end, part, play

from jupyter_ollama.config import OllamaServer

PATH = "/v1/responses"
QUESTION = "Name the capital of France."
TOOLS = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}]


def respond(**fields: Any) -> dict[str, Any]:
    asked = {"model": "smollm2", "input": QUESTION, "temperature": 0, "num_ctx": 512}
    return asked | {"max_output_tokens": 12} | fields


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


async def test_an_answer_that_was_cut_is_incomplete(either: Fetch) -> None:
    response = await either("POST", PATH, respond())
    body = json.loads(response.body)
    assert body["id"].startswith("resp_")
    assert (body["object"], body["status"], body["completed_at"]) == (
        "response",
        "incomplete",
        None,
    )
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    [item] = body["output"]
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "incomplete")
    [text] = item["content"]
    assert text["type"] == "output_text"
    assert "Paris" in text["text"]
    used = body["usage"]
    assert used["output_tokens"] == 12
    assert used["total_tokens"] == used["input_tokens"] + 12
    *_, last = events(await either("POST", PATH, respond(stream=True)))
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"][0]["content"] == item["content"]
    assert last["response"]["usage"]["input_tokens_details"]["cached_tokens"] > 0


async def test_the_events_of_a_text(standalone: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, THOUGHTFUL)
    found = events(await standalone("POST", PATH, respond(stream=True)))
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    assert [event["type"].removeprefix("response.") for event in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["response"]["output"] for event in found[:2]] == [[], []]
    added, done = found[9], found[15]
    assert (added["output_index"], done["output_index"]) == (1, 1)
    assert (added["item"]["status"], added["item"]["content"]) == ("in_progress", [])
    assert (found[6]["text"], found[13]["text"]) == ("The user asks.", "It is sunny.")
    response = found[-1]["response"]
    assert response["output"] == [found[8]["item"], found[15]["item"]]
    assert response["output"][0]["encrypted_content"] == "The user asks."
    assert response["usage"] == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 15},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 27,
    }


async def test_the_client_of_openai(openai_client: openai.AsyncOpenAI, standalone: Fetch) -> None:
    asked: Any = {"model": "smollm2", "input": QUESTION, "temperature": 0}
    asked |= {"instructions": "Answer in one word.", "extra_body": {"num_ctx": 512}}
    whole = await openai_client.responses.create(**asked)
    assert whole.status == "completed"
    async with openai_client.responses.stream(**asked) as stream:
        deltas = [event.delta async for event in stream if event.type.endswith("text.delta")]
        final = await stream.get_final_response()
    assert whole.output_text == final.output_text == "".join(deltas)
    assert final.usage == whole.usage or final.usage.input_tokens == whole.usage.input_tokens
    again = await openai_client.responses.create(
        model="smollm2",
        input=[
            {"role": "user", "content": QUESTION},
            *whole.output,
            {"role": "user", "content": "?"},
        ],
        extra_body={"num_ctx": 512},
        max_output_tokens=1,
    )
    assert again.usage.input_tokens > whole.usage.input_tokens


async def test_calls_and_thoughts_reach_the_client(
    openai_client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = play(monkeypatch, TWO_CALLS)
    asked: Any = {"model": "smollm2", "input": QUESTION, "tools": TOOLS}
    whole = await openai_client.responses.create(**asked)
    async with openai_client.responses.stream(**asked) as stream:
        async for _ in stream:
            pass
        streamed = await stream.get_final_response()
    for response in (whole, streamed):
        thought, message, *calls = response.output
        assert thought.summary[0].text == thought.encrypted_content == "Look it up."
        assert message.content[0].text == "Let me see."
        assert [(call.type, call.call_id, call.name, call.arguments) for call in calls] == [
            ("function_call", "call_weather0", "weather", '{"city":"Oslo"}'),
            ("function_call", "call_weather1", "weather", '{"city":"Rome"}'),
            ("function_call", "call_clock2", "clock", "{}"),
        ]
    recording.requests.clear()
    result = {"type": "function_call_output", "call_id": "call_weather0", "output": "sun"}
    await openai_client.responses.create(**asked | {"input": [*whole.output, result]})
    assistant, tool = recording.requests[0].messages
    assert (assistant.thinking, assistant.content) == ("Look it up.", "Let me see.")
    assert len(assistant.tool_calls) == 3
    assert (tool.role, tool.tool_name, tool.content) == ("tool", "weather", "sun")


async def test_logprobs_reach_the_client(
    openai_client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, [part("Hi!", logprobs=TOKENS), *WITH_LOGPROBS[-1:]])
    response = await openai_client.responses.create(
        model="smollm2", input="Hi", include=["message.output_text.logprobs"]
    )
    [text] = response.output[0].content
    assert [token.logprob for token in text.logprobs] == [-0.25, -0.5]


async def test_parameters_are_repeated(standalone: Fetch) -> None:
    tools = [{"type": "function", "name": "clock"}, {"type": "web_search"}]
    asked = respond(frequency_penalty=0.5, presence_penalty=None, tools=tools, tool_choice="none")
    body = json.loads((await standalone("POST", PATH, asked)).body)
    assert (body["frequency_penalty"], body["presence_penalty"]) == (0.5, 0.0)
    more = {"description": None, "parameters": None, "strict": None}
    assert body["tools"] == [more | tools[0], tools[1]]
    assert body["tool_choice"] == "none"


async def test_an_empty_answer(standalone: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, [end()])
    found = events(await standalone("POST", PATH, respond(stream=True)))
    assert [event["type"] for event in found][-1] == "response.completed"
    assert found[-1]["response"]["output"] == []


async def test_structured_answers(openai_client: openai.AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Paris", "Oslo"]}}}
    schema |= {"required": ["city"], "additionalProperties": False}
    response = await openai_client.responses.create(
        model="smollm2",
        input=QUESTION,
        max_output_tokens=40,
        text={"format": {"type": "json_schema", "name": "n", "schema": schema}},
    )
    assert json.loads(response.output_text)["city"] in ("Paris", "Oslo")


async def test_a_failure_in_a_stream_is_reported(
    openai_client: openai.AsyncOpenAI, ollama_server: OllamaServer
) -> None:
    stream = await openai_client.responses.create(
        model="smollm2", input=QUESTION, stream=True, extra_body={"num_ctx": 8192}
    )
    found = aiter(stream)
    assert (await anext(found)).type == "response.created"
    [loaded] = ollama_server.scheduler.loaded()
    psutil.Process(loaded.runner.pid).kill()
    with pytest.raises(openai.APIError, match="model runner has unexpectedly stopped"):
        [event async for event in found]


@pytest.mark.parametrize("stream", [True, False])
async def test_refusals_have_a_status(standalone: Fetch, stream: bool) -> None:
    for fields, status, message in (
        ({"model": ""}, 400, "model is required"),
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"input": 7}, 400, "input must be a string or array"),
        ({"model": "all-minilm"}, 400, '"all-minilm" does not support chat'),
    ):
        response = await standalone("POST", PATH, respond(stream=stream, **fields))
        assert (response.code, neighbour_error(response)) == (status, message)
