"""OpenAI's requests are translated to those of Ollama's endpoints."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from recorded import WEATHER

from jupyter_ollama.api.decoding import decode
from jupyter_ollama.api.openai import chat, completions, responses
from jupyter_ollama.api.openai.wire import (
    ChatCompletionRequest,
    CompletionRequest,
    ResponsesRequest,
)
from jupyter_ollama.errors import OllamaError

PNG = "data:image/png;base64,iVBORw=="
USER = {"role": "user", "content": "Hi"}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": WEATHER}}
    for name in ("weather", "clock")
]
ONE = {"type": "function", "function": {"name": "clock"}}
DEFAULTS = {"temperature": 1.0, "top_p": 1.0}
BUDGETS = {"minimal": 64}


def chat_request(**fields: Any) -> dict[str, Any]:
    body = msgspec.json.encode({"model": "m", "messages": [USER]} | fields)
    asked = chat.chat_request(decode(body, ChatCompletionRequest), DEFAULTS, BUDGETS)
    return msgspec.to_builtins(asked)


def response_request(**fields: Any) -> dict[str, Any]:
    body = msgspec.json.encode({"model": "m", "input": "Hi"} | fields)
    asked = responses.chat_request(decode(body, ResponsesRequest), DEFAULTS, BUDGETS)
    return msgspec.to_builtins(asked)


def messages(*given: dict[str, Any]) -> list[dict[str, Any]]:
    return chat_request(messages=given)["messages"]


def test_options_of_a_chat() -> None:
    assert chat_request()["options"] == DEFAULTS
    fields = {"temperature": 0.5, "top_p": 0.2, "seed": 3, "stop": ["a"]}
    penalties = {"frequency_penalty": 0.1, "presence_penalty": 0.2}
    options = chat_request(
        **fields, **penalties, max_tokens=9, logit_bias={"7": -100, "8": 1.5}, num_ctx=99
    )["options"]
    assert options == fields | penalties | {
        "num_predict": 9,
        "logit_bias": {"7": -100.0, "8": 1.5},
        "num_ctx": 99,
    }
    assert chat_request(temperature=0.5, options={"temperature": 0})["options"]["temperature"] == 0


@pytest.mark.parametrize(
    ("fields", "format"),
    [
        ({}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, "json"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": WEATHER}}}, WEATHER),
        ({"response_format": {"type": "json_schema"}}, "json"),
        ({"format": WEATHER, "response_format": {"type": "json_object"}}, WEATHER),
    ],
)
def test_formats_of_a_chat(fields: dict[str, Any], format: Any) -> None:
    assert chat_request(**fields)["format"] == format


@pytest.mark.parametrize(
    ("effort", "think"),
    [
        ("none", False),
        ("minimal", {"tokens": 64, "level": "low"}),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "max"),
        ("ultra", "max"),
        ("max", "max"),
        ("", None),
    ],
)
def test_efforts(effort: str, think: Any) -> None:
    assert chat_request(reasoning_effort=effort)["think"] == think
    assert chat_request(reasoning={"effort": effort})["think"] == think
    assert response_request(reasoning={"effort": effort})["think"] == think
    assert chat_request(reasoning_effort=effort, think=True)["think"] is True


def test_unknown_efforts() -> None:
    with pytest.raises(OllamaError, match='invalid reasoning value: "huge"'):
        chat_request(reasoning_effort="huge")


def test_content_in_parts_is_one_message() -> None:
    text = {"type": "text", "text": "What is"}
    images = [
        {"type": "image_url", "image_url": PNG},
        {"type": "image_url", "image_url": {"url": "data:;base64,AAAA"}},
    ]
    [message] = messages({"role": "user", "content": [text, *images, {**text, "text": "it?"}]})
    assert message == {
        "role": "user",
        "content": "What is\n\nit?",
        "images": ["iVBORw==", "AAAA"],
    }


def test_roles() -> None:
    given = [{"role": role, "content": "x"} for role in ("developer", "System", "user")]
    assert [message["role"] for message in messages(*given)] == ["system", "system", "user"]


@pytest.mark.parametrize("named", [True, False])
def test_a_turn_with_tools(named: bool) -> None:
    call = {"id": "c1", "type": "function"}
    call["function"] = {"name": "weather", "arguments": '{"city": "Oslo"}'}
    assistant = {"role": "assistant", "content": None, "reasoning": "Hm.", "tool_calls": [call]}
    result = {"role": "tool", "content": "rain", "tool_call_id": "c1"}
    asked, said, heard = messages(USER, assistant, result | ({"name": "other"} if named else {}))
    assert asked == USER
    assert said == {
        "role": "assistant",
        "thinking": "Hm.",
        "tool_calls": [
            {"function": {"name": "weather", "arguments": {"city": "Oslo"}}, "id": "c1"}
        ],
    }
    assert heard == {
        "role": "tool",
        "content": "rain",
        "tool_name": "other" if named else "weather",
        "tool_call_id": "c1",
    }


@pytest.mark.parametrize(
    ("message", "reported"),
    [
        ({"role": 7, "content": "x"}, "invalid message format"),
        ({"role": "user", "content": ["x"]}, "invalid message format"),
        ({"role": "user", "content": [{"type": "text", "text": 7}]}, "invalid message format"),
        ({"role": "user", "content": [{"type": "video"}]}, "invalid message format"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "invalid message format"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "https://a/b.png"}]},
            "image URLs are not currently supported, please use base64 encoded data instead",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "data:text/x,a"}]},
            "invalid image input",
        ),
        (
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
            "invalid input_audio: data must be a WAV, MP3 or FLAC file in base64",
        ),
        ({"role": "assistant", "tool_calls": "x"}, "invalid message format"),
        ({"role": "assistant", "tool_calls": [{}]}, "invalid message format"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "{"}}]},
            "invalid tool call arguments",
        ),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "[]"}}]},
            "invalid tool call arguments",
        ),
        ({"role": "assistant", "content": "x", "reasoning": 7}, "invalid message format"),
        ({"role": "tool", "content": "x", "name": 7}, "invalid message format"),
        ({"role": "tool", "content": "x", "tool_call_id": []}, "invalid message format"),
    ],
)
def test_messages_that_cannot_be_read(message: dict[str, Any], reported: str) -> None:
    with pytest.raises(OllamaError) as caught:
        messages(message)
    assert (caught.value.status, caught.value.message) == (400, reported)


@pytest.mark.parametrize(
    ("choice", "tools", "wanted"),
    [
        (None, TOOLS, None),
        ("auto", TOOLS, None),
        ("none", [], None),
        ("required", TOOLS, "required"),
        (ONE, TOOLS, ONE),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [ONE]}},
            TOOLS[1:],
            "required",
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [ONE]}},
            TOOLS[1:],
            None,
        ),
    ],
)
def test_the_choice_of_a_tool(choice: Any, tools: list[Any], wanted: Any) -> None:
    asked = chat_request(tools=TOOLS, tool_choice=choice)
    assert (asked["tools"], asked["tool_choice"]) == (tools, wanted)


@pytest.mark.parametrize("given", [None, True, False])
def test_several_calls_at_once(given: bool | None) -> None:
    wanted = given is not False
    for request in (chat_request, response_request):
        assert request(parallel_tool_calls=given)["parallel_tool_calls"] is wanted


@pytest.mark.parametrize(
    "choice",
    [
        "some",
        7,
        {"type": "function", "function": {"name": "nope"}},
        {"type": "allowed_tools", "allowed_tools": 7},
        {"type": "allowed_tools", "allowed_tools": {"tools": 7}},
        {"type": "allowed_tools", "allowed_tools": {"tools": [7]}},
    ],
)
def test_choices_that_cannot_be_made(choice: Any) -> None:
    with pytest.raises(OllamaError, match="tool_choice") as caught:
        chat_request(tools=TOOLS, tool_choice=choice)
    assert caught.value.status == 400
    with pytest.raises(OllamaError, match="tool_choice"):
        chat_request(tool_choice="required")


def test_prompts_and_choices_of_a_completion() -> None:
    body = {"model": "m", "prompt": ["a", "b"], "suffix": "z", "n": 2, "seed": 4, "logprobs": 3}
    asked = completions.generate_requests(
        decode(msgspec.json.encode(body), CompletionRequest), DEFAULTS
    )
    assert [(one.prompt, one.options["seed"]) for one in asked] == [
        ("a", 4),
        ("a", 5),
        ("b", 4),
        ("b", 5),
    ]
    assert all(
        (one.suffix, one.logprobs, one.top_logprobs, one.stream) == ("z", True, 3, False)
        for one in asked
    )


@pytest.mark.parametrize("prompt", [7, [], [1, 2], ["a", [1]], {}])
def test_prompts_that_are_not_texts(prompt: Any) -> None:
    body = msgspec.json.encode({"model": "m", "prompt": prompt})
    with pytest.raises(OllamaError, match="prompt must be a string or a list of strings"):
        completions.generate_requests(decode(body, CompletionRequest), DEFAULTS)
