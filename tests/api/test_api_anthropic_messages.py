"""Anthropic's requests are translated to those of Ollama's endpoints."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from api_client import QUESTION
from recorded import WEATHER

from jupyter_ollama.api.anthropic.messages import chat_request
from jupyter_ollama.api.anthropic.wire import MessagesRequest
from jupyter_ollama.api.decoding import decode
from jupyter_ollama.errors import OllamaError

TOOL = {"name": "weather", "description": "Tells it.", "input_schema": WEATHER}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
PLAIN: Any = SimpleNamespace(capabilities=["completion"])
THINKER: Any = SimpleNamespace(capabilities=["completion", "thinking"])


def translated(model: Any = PLAIN, **fields: Any) -> dict[str, Any]:
    request = decode(
        msgspec.json.encode({"model": "m", "max_tokens": 12, "messages": [QUESTION]} | fields),
        MessagesRequest,
    )
    return msgspec.to_builtins(chat_request(request, model, {}, stream=False))


@pytest.mark.parametrize(
    ("fields", "think"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}}, False),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, "low"),
        ({"output_config": {"effort": "xhigh"}}, "high"),
        ({"thinking": {"type": "enabled"}, "think": "max"}, "max"),
    ],
)
def test_how_much_to_think(fields: dict[str, Any], think: Any) -> None:
    assert translated(THINKER, **fields)["think"] == think
    assert translated(PLAIN, **fields)["think"] is None


def test_messages_of_blocks() -> None:
    text = {"type": "text", "text": "What is "}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [text, IMAGE]}
    assert translated(
        system=[{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}],
        messages=[
            {"role": "user", "content": [text, IMAGE, {"type": "text", "text": "it?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "tool_use", "id": "t", "name": "weather", "input": {"city": "Oslo"}},
                ],
            },
            {"role": "user", "content": [result]},
        ],
    )["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is it?", "images": ["AAAA"]},
        {
            "role": "assistant",
            "thinking": "Hm.",
            "tool_calls": [
                {"function": {"name": "weather", "arguments": {"city": "Oslo"}}, "id": "t"}
            ],
        },
        {
            "role": "tool",
            "content": "What is ",
            "images": ["AAAA"],
            "tool_name": "weather",
            "tool_call_id": "t",
        },
    ]


@pytest.mark.parametrize(
    ("choice", "offered", "wanted"),
    [
        ({}, 1, None),
        ({"type": "auto"}, 1, None),
        ({"type": "none"}, 0, None),
        ({"type": "any"}, 1, "required"),
        (
            {"type": "tool", "name": "weather"},
            1,
            {"type": "function", "function": {"name": "weather"}},
        ),
    ],
)
def test_tools_and_their_choice(choice: dict[str, Any], offered: int, wanted: Any) -> None:
    asked = translated(tools=[TOOL, {"type": "web_search_1", "name": "w"}], tool_choice=choice)
    function = {"name": "weather", "description": "Tells it.", "parameters": WEATHER}
    assert asked["tools"] == [{"type": "function", "function": function}] * offered
    assert asked["tool_choice"] == wanted
    assert asked["parallel_tool_calls"] is True
    alone = choice | {"disable_parallel_tool_use": True}
    assert translated(tools=[TOOL], tool_choice=alone)["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
            "invalid image source type: url. Only base64 images are supported.",
        ),
        ({"type": "image"}, "invalid image source"),
        ({"type": "tool_use", "name": "x"}, "tool_use block missing required 'id' field"),
        ({"type": "tool_use", "id": "x"}, "tool_use block missing required 'name' field"),
        ({"text": "x"}, "content block needs a type"),
    ],
)
def test_blocks_that_cannot_be_read(block: dict[str, Any], message: str) -> None:
    with pytest.raises(OllamaError) as caught:
        translated(messages=[{"role": "user", "content": [block]}])
    assert (caught.value.status, caught.value.message) == (400, message)
