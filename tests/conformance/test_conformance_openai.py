"""The openai package: completions, responses, embeddings and models."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from conformance_scripts import JOKE, NUMBER, PLAIN, SAID, THOUGHT
from pydantic import BaseModel
from sound_files import tone, wav

ASKED: Any = [{"role": "user", "content": "call it"}]
HELLO: Any = [{"role": "user", "content": "hello"}]
JOKE_ASKED: Any = [{"role": "user", "content": "Tell me a joke about cats."}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "Tell the weather.", "parameters": CITY}
TOOLS: Any = [{"type": "function", "function": FUNCTION}]
SPEECH = wav(tone(0.5))
LISBON = {**CITY, "properties": {"city": {"enum": ["Lisbon"]}}}
IN_LISBON: Any = [{"type": "function", "function": {**FUNCTION, "parameters": LISBON}}]
FLAT_TOOLS: Any = [{"type": "function", "strict": False, **FUNCTION}]


class Joke(BaseModel):
    """A joke that has one wording only."""

    setup: Literal["What do cats read?"]
    punchline: Literal["The mews."]


@pytest.fixture(scope="module")
def client(host: str) -> Iterator[openai.OpenAI]:
    """A client that shows each error at once."""
    with openai.OpenAI(base_url=f"http://{host}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="caller", messages=HELLO)
    (choice,) = answer.choices
    assert (choice.message.content, choice.finish_reason) == (PLAIN, "stop")
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    cut = client.chat.completions.create(model="caller", messages=HELLO, max_completion_tokens=3)
    assert cut.choices[0].finish_reason == "length"


def test_chat_streams(client: openai.OpenAI) -> None:
    parts = list(
        client.chat.completions.create(
            model="caller", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
    assert text == PLAIN
    assert [part.choices[0].finish_reason for part in parts if part.choices][-1] == "stop"
    assert parts[-1].usage
    assert not parts[-1].choices
    with client.chat.completions.stream(model="caller", messages=HELLO) as stream:
        assert stream.get_final_completion().choices[0].message.content == PLAIN


def test_chat_in_async(host: str) -> None:
    async def ask() -> None:
        base = f"http://{host}/v1"
        async with openai.AsyncOpenAI(base_url=base, api_key="unused") as client:
            answer = await client.chat.completions.create(model="caller", messages=HELLO)
            assert answer.choices[0].message.content == PLAIN
            parts = await client.chat.completions.create(
                model="caller", messages=HELLO, stream=True
            )
            assert "".join([p.choices[0].delta.content or "" async for p in parts]) == PLAIN

    asyncio.run(ask())


def test_tools(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="caller", messages=ASKED, tools=TOOLS)
    choice = answer.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", SAID)
    assert choice.message.tool_calls
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "get_weather",
        {"city": "Paris"},
    )
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    answer = client.chat.completions.create(
        model="caller", messages=[*ASKED, choice.message, result], tools=TOOLS
    )
    assert answer.choices[0].message.content == PLAIN


def test_tools_stream(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "call both"}]
    with client.chat.completions.stream(model="caller", messages=asked, tools=TOOLS) as stream:
        events = list(stream)
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls or []
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Paris", "Rome"]
    assert len({call.id for call in calls}) == 2
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [event.index for event in done] == [0, 1]


def test_a_tool_can_be_chosen(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "Tell me something about Lisbon."}]
    answer = client.chat.completions.create(
        model="caller", messages=asked, tools=IN_LISBON, tool_choice="required"
    )
    calls: Any = answer.choices[0].message.tool_calls
    assert json.loads(calls[0].function.arguments) == {"city": "Lisbon"}
    answer = client.chat.completions.create(
        model="caller", messages=ASKED, tools=TOOLS, tool_choice="none"
    )
    assert answer.choices[0].message.tool_calls is None


def test_response_format(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(
        model="caller", messages=JOKE_ASKED, response_format=Joke
    )
    assert parsed.choices[0].message.parsed == Joke(**JOKE)
    answer = client.chat.completions.create(
        model="caller", messages=JOKE_ASKED, response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content or "") == JOKE


def test_thoughts(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "What is 3^3?"}]
    answer = client.chat.completions.create(
        model="thinker", messages=asked, reasoning_effort="high"
    )
    message: Any = answer.choices[0].message
    assert (message.reasoning, message.content) == (THOUGHT, NUMBER)


def test_logprobs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="caller", messages=HELLO, logprobs=True, top_logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs
    assert "".join(one.token for one in logprobs.content or []) == PLAIN


def test_embeddings(client: openai.OpenAI) -> None:
    in_base64 = client.embeddings.create(model="all-minilm", input=["one", "two"])
    as_floats = client.embeddings.create(
        model="all-minilm", input=["one", "two"], encoding_format="float"
    )
    assert [one.index for one in in_base64.data] == [0, 1]
    for one, other in zip(in_base64.data, as_floats.data, strict=True):
        assert len(one.embedding) == 384
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    short = client.embeddings.create(model="all-minilm", input="one", dimensions=64)
    assert len(short.data[0].embedding) == 64


def test_models(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert {"smollm2:latest", "caller:latest"} <= set(models)
    assert client.models.retrieve("smollm2").object == "model"


def test_completions(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="caller", prompt="hello")
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (PLAIN, "stop")
    parts = client.completions.create(model="caller", prompt="hello", stream=True)
    assert "".join(part.choices[0].text for part in parts) == PLAIN


def test_responses(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="caller", input="hello", instructions="Be kind.")
    assert (answer.output_text, answer.status) == (PLAIN, "completed")
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    with client.responses.stream(model="caller", input="hello") as stream:
        events = list(stream)
        assert stream.get_final_response().output_text == PLAIN
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    parsed = client.responses.parse(
        model="caller", input="Tell me a joke about cats.", text_format=Joke
    )
    assert parsed.output_parsed == Joke(**JOKE)


def test_responses_with_tools(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="caller", input="call it", tools=FLAT_TOOLS)
    (call,) = [item for item in answer.output if item.type == "function_call"]
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    items: Any = [*ASKED, *[item.model_dump() for item in answer.output], result]
    answer = client.responses.create(model="caller", input=items, tools=FLAT_TOOLS)
    assert answer.output_text == PLAIN
    with client.responses.stream(model="caller", input="call it", tools=FLAT_TOOLS) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.function_call_arguments.done" in kinds
    assert final.output[-1].type == "function_call"


def test_responses_with_thoughts(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="thinker", input="What is 3^3?")
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    reasoning: Any = answer.output[0]
    assert (reasoning.summary[0].text, answer.output_text) == (THOUGHT, NUMBER)


def test_transcriptions(client: openai.OpenAI) -> None:
    file = ("speech.wav", SPEECH)
    whole = client.audio.transcriptions.create(model="hearing", file=file)
    usage = whole.usage
    assert usage
    assert usage.type == "tokens"
    assert (usage.output_tokens, usage.input_tokens > 20) == (5, True)
    text = client.audio.transcriptions.create(model="hearing", file=file, response_format="text")
    assert text == whole.text
    verbose = client.audio.transcriptions.create(
        model="hearing", file=file, response_format="verbose_json", language="en", prompt="Ada"
    )
    assert (verbose.duration, verbose.language, verbose.segments) == (0.5, "en", None)
    stream = client.audio.transcriptions.create(model="hearing", file=file, stream=True)
    *deltas, end = list(stream)
    assert end.type == "transcript.text.done"
    assert end.text == whole.text
    assert {part.type for part in deltas} == {"transcript.text.delta"}
    with pytest.raises(openai.BadRequestError, match="timestamps are not supported"):
        client.audio.transcriptions.create(model="hearing", file=file, response_format="srt")
    with pytest.raises(openai.BadRequestError, match="does not support audio"):
        client.audio.transcriptions.create(model="smollm2", file=file)


def test_sounds_in_a_chat(client: openai.OpenAI) -> None:
    sound = {"data": base64.b64encode(SPEECH).decode(), "format": "wav"}
    content = [{"type": "text", "text": "hello"}, {"type": "input_audio", "input_audio": sound}]
    asked: Any = [{"role": "user", "content": content}]
    hello = client.chat.completions.create(model="hearing", messages=HELLO)
    heard = client.chat.completions.create(model="hearing", messages=asked)
    assert hello.usage
    assert heard.usage
    assert heard.usage.prompt_tokens == hello.usage.prompt_tokens + 13 + 2


def test_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.chat.completions.create(model="absent", messages=HELLO)
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.models.retrieve("absent")
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.responses.create(model="absent", input="hello", stream=True)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="caller", messages=[])
    with pytest.raises(openai.BadRequestError, match="does not support tools"):
        client.chat.completions.create(model="smollm2", messages=ASKED, tools=TOOLS)
