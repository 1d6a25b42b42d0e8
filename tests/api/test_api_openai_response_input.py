"""Requests to /v1/responses are translated to those of /api/chat."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from recorded import WEATHER

from jupyter_ollama.api.decoding import decode
from jupyter_ollama.api.openai import responses
from jupyter_ollama.api.openai.wire import ResponsesRequest
from jupyter_ollama.errors import OllamaError

PNG = "data:image/png;base64,iVBORw=="
USER = {"role": "user", "content": "Hi"}
ONE = {"type": "function", "function": {"name": "clock"}}
DEFAULTS = {"temperature": 1.0, "top_p": 1.0}


def response_request(**fields: Any) -> dict[str, Any]:
    body = msgspec.json.encode({"model": "m", "input": "Hi"} | fields)
    asked = responses.chat_request(decode(body, ResponsesRequest), DEFAULTS, {})
    return msgspec.to_builtins(asked)


def items(*given: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    return response_request(input=given, **fields)["messages"]


def test_the_input_of_a_response() -> None:
    assert response_request(instructions="Be brief.")["messages"] == [
        {"role": "system", "content": "Be brief."},
        USER,
    ]
    image = {"type": "input_image", "image_url": PNG}
    content = [{"type": "input_text", "text": "What"}, {"type": "input_text", "text": "?"}, image]
    assert items(
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": content},
        {"type": "reasoning", "summary": [], "encrypted_content": "Hm."},
        {"type": "web_search_call", "id": "w"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Let me see."}]},
        {
            "type": "function_call",
            "call_id": "a",
            "name": "weather",
            "arguments": '{"city":"Rome"}',
        },
        {"type": "function_call", "call_id": "b", "name": "clock", "arguments": ""},
        {"type": "function_call_output", "call_id": "a", "output": "sun"},
        {"type": "function_call_output", "call_id": "b", "output": content[:1]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Short."}]},
        {"role": "assistant", "content": "Sun."},
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What?", "images": ["iVBORw=="]},
        {
            "role": "assistant",
            "content": "Let me see.",
            "thinking": "Hm.",
            "tool_calls": [
                {"function": {"name": "weather", "arguments": {"city": "Rome"}}, "id": "a"},
                {"function": {"name": "clock"}, "id": "b"},
            ],
        },
        {"role": "tool", "content": "sun", "tool_name": "weather", "tool_call_id": "a"},
        {"role": "tool", "content": "What", "tool_name": "clock", "tool_call_id": "b"},
        {"role": "assistant", "content": "Sun.", "thinking": "Short."},
    ]


@pytest.mark.parametrize(
    ("fields", "reported"),
    [
        ({"input": 7}, "input must be a string or array"),
        ({"input": None}, "input must be a string or array"),
        ({"input": ""}, "input is required"),
        ({"input": [{}]}, "input[0]: input item missing required 'type' field"),
        ({"input": [USER, {"type": "x"}]}, 'input[1]: unknown input item type: "x"'),
        ({"input": [7]}, "input[0]: input item must be an object"),
        (
            {"input": [{"role": "user", "content": [{"type": "x"}]}]},
            "input[0]: unknown content type: x",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file"}]}]},
            "input[0]: file inputs are not currently supported",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "input[0]: invalid input_audio: data must be a WAV, MP3 or FLAC file in base64",
        ),
        (
            {"input": [{"type": "function_call", "name": "x", "arguments": "{"}]},
            "input[0]: failed to parse function call arguments",
        ),
        (
            {"previous_response_id": "resp_1"},
            "previous_response_id is not supported: responses are not stored, send the whole "
            "conversation as input",
        ),
    ],
)
def test_responses_that_cannot_be_made(fields: dict[str, Any], reported: str) -> None:
    with pytest.raises(OllamaError) as caught:
        response_request(**fields)
    assert (caught.value.status, caught.value.message) == (400, reported)


def test_tools_and_formats_of_a_response() -> None:
    flat = {"type": "function", "name": "clock", "parameters": WEATHER, "description": None}
    group = {"type": "namespace", "name": "home", "tools": [flat]}
    asked = response_request(
        tools=[flat, {"type": "web_search"}, group],
        tool_choice={"type": "function", "name": "clock"},
        text={"format": {"type": "json_schema", "name": "n", "schema": WEATHER}},
        include=["message.output_text.logprobs"],
        max_output_tokens=5,
        presence_penalty=0.5,
    )
    assert [tool["function"] for tool in asked["tools"]] == [
        {"name": name, "description": "", "parameters": WEATHER} for name in ("clock", "home.clock")
    ]
    assert asked["tool_choice"] == ONE
    assert asked["format"] == WEATHER
    assert asked["logprobs"] is True
    assert asked["options"] == DEFAULTS | {"num_predict": 5, "presence_penalty": 0.5}
