"""The anthropic package: messages, tools and counts."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest
from conformance_scripts import NUMBER, PLAIN, SAID, THOUGHT

HELLO: Any = [{"role": "user", "content": "hello"}]
ASKED: Any = [{"role": "user", "content": "call it"}]
SUM: Any = [{"role": "user", "content": "What is 3^3?"}]
THINK: Any = {"type": "enabled", "budget_tokens": 1024}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = [{"name": "get_weather", "description": "Tell it.", "input_schema": CITY}]

LISBON = {**CITY, "properties": {"city": {"enum": ["Lisbon"]}}}
IN_LISBON: Any = [{"name": "get_weather", "input_schema": LISBON}]


@pytest.fixture(scope="module")
def client(host: str) -> anthropic.Anthropic:
    """A client that shows each error at once."""
    return anthropic.Anthropic(base_url=f"http://{host}", api_key="unused", max_retries=0)


def test_messages(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(
        model="caller", max_tokens=100, messages=HELLO, system="Be kind."
    )
    (block,) = answer.content
    assert block.type == "text"
    assert (block.text, answer.stop_reason, answer.role) == (PLAIN, "end_turn", "assistant")
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    cut = client.messages.create(model="caller", max_tokens=3, messages=HELLO)
    assert cut.stop_reason == "max_tokens"


def test_a_stop_sequence_is_reported(client: anthropic.Anthropic) -> None:
    stopped = client.messages.create(
        model="caller", max_tokens=100, messages=HELLO, stop_sequences=["called"]
    )
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "called")


def test_messages_stream(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model="caller", max_tokens=100, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == PLAIN
        message = stream.get_final_message()
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0
    kinds = [
        event.type
        for event in client.messages.create(
            model="caller", max_tokens=100, messages=HELLO, stream=True
        )
    ]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


def test_messages_in_async(host: str) -> None:
    async def ask() -> None:
        async with (
            anthropic.AsyncAnthropic(base_url=f"http://{host}", api_key="x") as client,
            client.messages.stream(model="caller", max_tokens=100, messages=HELLO) as stream,
        ):
            assert await stream.get_final_text() == PLAIN

    asyncio.run(ask())


def test_tools(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(model="caller", max_tokens=200, messages=ASKED, tools=TOOLS)
    text, use = answer.content
    assert (text.type, use.type, answer.stop_reason) == ("text", "tool_use", "tool_use")
    assert (text.text, use.name, use.input) == (SAID, "get_weather", {"city": "Paris"})
    turns: Any = [
        *ASKED,
        {"role": "assistant", "content": answer.content},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}],
        },
    ]
    answer = client.messages.create(model="caller", max_tokens=200, messages=turns, tools=TOOLS)
    assert [block.text for block in answer.content if block.type == "text"] == [PLAIN]
    with client.messages.stream(
        model="caller", max_tokens=200, messages=ASKED, tools=TOOLS
    ) as stream:
        last = stream.get_final_message().content[-1]
    assert last.type == "tool_use"
    assert last.input == {"city": "Paris"}


def test_a_tool_can_be_chosen(client: anthropic.Anthropic) -> None:
    asked: Any = [{"role": "user", "content": "Tell me something about Lisbon."}]
    one = {"disable_parallel_tool_use": True}
    for choice in ({"type": "any"}, {"type": "tool", "name": "get_weather"}):
        chosen: Any = choice | one
        answer = client.messages.create(
            model="caller", max_tokens=200, messages=asked, tools=IN_LISBON, tool_choice=chosen
        )
        (use,) = answer.content
        assert use.type == "tool_use"
        assert use.input == {"city": "Lisbon"}


def test_thoughts(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(model="thinker", max_tokens=2000, messages=SUM, thinking=THINK)
    thought, text = answer.content
    assert (thought.type, text.type) == ("thinking", "text")
    assert (thought.thinking, text.text) == (THOUGHT, NUMBER)
    turns: Any = [*SUM, {"role": "assistant", "content": answer.content}, *HELLO]
    again = client.messages.create(model="thinker", max_tokens=2000, messages=turns, thinking=THINK)
    assert again.content[-1].type == "text"
    with client.messages.stream(
        model="thinker", max_tokens=2000, messages=SUM, thinking=THINK
    ) as stream:
        kinds = [block.type for block in stream.get_final_message().content]
    assert kinds == ["thinking", "text"]


def test_count_tokens(client: anthropic.Anthropic) -> None:
    counted = client.messages.count_tokens(model="caller", messages=HELLO, system="Be kind.")
    answer = client.messages.create(model="caller", max_tokens=1, messages=HELLO, system="Be kind.")
    usage = answer.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_errors(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="not found") as caught:
        client.messages.create(model="absent", max_tokens=10, messages=HELLO)
    error: Any = caught.value.body
    assert (error["type"], error["error"]["type"]) == ("error", "not_found_error")
    assert caught.value.request_id or error["request_id"]
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        client.messages.create(model="caller", max_tokens=10, messages=[])
