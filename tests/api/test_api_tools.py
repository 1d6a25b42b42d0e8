"""Thinking, tool calls, probabilities and gaps over HTTP, from models whose answers are known.

The same request by each of the APIs gives the same text and calls.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, answer, chat, error, events, generate, lines
from scripted_model import MESSAGES, write_scripts
from store_models import add_model

from jupyter_ollama.library.model import Library

CITIES = ["Paris", "Rome"]
CITY = {"type": "object", "properties": {"city": {"enum": CITIES}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "The weather of a city.", "parameters": CITY}
TOOLS = [{"type": "function", "function": FUNCTION}]
ARGUMENTS = {"city": "Paris"}
THOUGHT, SAID = "I should ask for it.", "Let me see."
SCRIPT = (
    f"<think>\n{THOUGHT}\n</think>\n\n{SAID}"
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
)
PLAIN = "There is nothing to be called, so here is some text."
TEMPLATE = "{# <tool_call> <think> </think> #}{% if tools %}[{{ tools | length }}]{% endif %}"
ASKED = {"role": "user", "content": "call it"}
OPTIONS = {"temperature": 0, "num_ctx": 1024}
THOUGHT_TOKENS = {"model": "scripted", "content": THOUGHT, "special": False}


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the model "scripted", which thinks and calls if the prompt says "call"."""
    folder = tmp_path_factory.mktemp("scripted")
    path = write_scripts(
        folder / "scripted.gguf",
        {"plain": PLAIN, "call": SCRIPT},
        special=("<think>", "</think>", "<tool_call>", "</tool_call>"),
        template=TEMPLATE + MESSAGES,
    )
    library = Library.open(folder / "models")
    add_model(library, "scripted", path)
    return folder / "models"


@pytest.fixture
def models_dir(scripted: Path) -> Path:
    return scripted


def ask(**fields: Any) -> dict[str, Any]:
    body = chat(messages=[ASKED], options=OPTIONS, stream=False)
    return body | {"model": "scripted", "tools": TOOLS} | fields


async def test_a_message_with_thoughts_and_calls(either: Fetch) -> None:
    shown = await answer(either, "/api/show", {"model": "scripted"})
    assert {"completion", "tools", "thinking"} <= set(shown["capabilities"])
    message = (await answer(either, "/api/chat", ask()))["message"]
    (call,) = message.pop("tool_calls")
    assert message == {"role": "assistant", "content": SAID, "thinking": THOUGHT}
    assert call["id"].startswith("call_")
    assert len(call["id"]) == 13
    assert call["function"] == {"index": 0, "name": "get_weather", "arguments": ARGUMENTS}
    counted = await answer(either, "/api/tokenize", THOUGHT_TOKENS)
    parts = lines(await either("POST", "/api/chat", ask(stream=True)))
    assert parts[-1]["eval_thinking_count"] == len(counted["tokens"])
    messages = [part["message"] for part in parts]
    assert "".join(m.get("thinking", "") for m in messages) == THOUGHT
    assert "".join(m["content"] for m in messages) == SAID
    assert sum(len(m.get("tool_calls", [])) for m in messages) == 1
    assert (parts[-1]["done_reason"], messages[-1]["content"]) == ("stop", "")


async def test_think_and_tools_can_be_left_out(either: Fetch) -> None:
    message = (await answer(either, "/api/chat", ask(tools=[])))["message"]
    assert message["thinking"] == THOUGHT
    assert message["content"].startswith(SAID + "<tool_call>")
    message = (await answer(either, "/api/chat", ask(think=False)))["message"]
    assert "thinking" not in message
    assert message["content"] == SCRIPT.partition("<tool_call>")[0]
    asked = generate(model="scripted", prompt="call it", options=OPTIONS, stream=False)
    body = await answer(either, "/api/generate", asked)
    assert body["thinking"] == THOUGHT
    assert body["response"].startswith(SAID)


async def test_a_call_can_be_required_or_forbidden(either: Fetch) -> None:
    plain = {"role": "user", "content": "plain"}
    required = ask(messages=[plain], tool_choice="required", think=False)
    required["options"] = OPTIONS | {"num_predict": 60}
    message = (await answer(either, "/api/chat", required))["message"]
    assert message["content"] == ""
    assert message["tool_calls"][0]["function"]["arguments"]["city"] in CITIES
    forbidden = (await answer(either, "/api/chat", ask(tool_choice="none")))["message"]
    assert "tool_calls" not in forbidden
    for choice in ("perhaps", {"type": "function", "function": {"name": "other"}}):
        response = await either("POST", "/api/chat", ask(tool_choice=choice))
        assert response.code == 400
        assert error(response).startswith("tool_choice must be")
    response = await either("POST", "/api/chat", ask(tool_choice="required", format="json"))
    assert (response.code, "exclude each other" in error(response)) == (400, True)


async def test_tokens_are_told_with_their_probabilities(either: Fetch) -> None:
    asked = generate(model="scripted", prompt="plain", options=OPTIONS, stream=False)
    body = await answer(either, "/api/generate", asked | {"logprobs": True, "top_logprobs": 2})
    assert "".join(one["token"] for one in body["logprobs"]) == PLAIN
    first = body["logprobs"][0]
    assert first["bytes"] == list(first["token"].encode())
    assert -0.01 < first["logprob"] <= 0
    assert [len(one["top_logprobs"]) for one in body["logprobs"]] == [2] * len(body["logprobs"])
    assert set(first["top_logprobs"][0]) == {"token", "logprob", "bytes"}
    streamed = lines(
        await either("POST", "/api/generate", asked | {"logprobs": True, "stream": True})
    )
    told = [one for part in streamed for one in part.get("logprobs", [])]
    assert [one["token"] for one in told] == [one["token"] for one in body["logprobs"]]
    assert "top_logprobs" not in told[0]


async def test_every_api_gives_the_same(either: Fetch) -> None:
    openai = {"model": "scripted", "messages": [ASKED], "tools": TOOLS, "temperature": 0}
    body = await answer(either, "/v1/chat/completions", openai)
    thought = body["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert 0 < thought < body["usage"]["completion_tokens"]
    choice = body["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["reasoning"] == THOUGHT
    assert choice["message"]["content"] == SAID
    call = choice["message"]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", ARGUMENTS)

    flat = [{"type": "function"} | FUNCTION]
    asked = {"model": "scripted", "input": ASKED["content"], "tools": flat, "temperature": 0}
    body = await answer(either, "/v1/responses", asked)
    assert body["usage"]["output_tokens_details"]["reasoning_tokens"] == thought
    output = body["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call"]
    assert output[0]["summary"][0]["text"] == THOUGHT
    assert output[1]["content"][0]["text"] == SAID
    assert (output[2]["name"], json.loads(output[2]["arguments"])) == ("get_weather", ARGUMENTS)

    anthropic = {
        "model": "scripted",
        "max_tokens": 500,
        "messages": [ASKED],
        "tools": [{"name": "get_weather", "input_schema": CITY}],
        "temperature": 0,
    }
    body = await answer(either, "/v1/messages", anthropic)
    assert body["usage"]["output_tokens_details"]["thinking_tokens"] == thought
    assert body["stop_reason"] == "tool_use"
    assert [block["type"] for block in body["content"]] == ["thinking", "text", "tool_use"]
    assert body["content"][0]["thinking"] == THOUGHT
    assert body["content"][1]["text"] == SAID
    assert (body["content"][2]["name"], body["content"][2]["input"]) == ("get_weather", ARGUMENTS)

    chunks = events(await either("POST", "/v1/chat/completions", openai | {"stream": True}))
    deltas = [c["choices"][0]["delta"] for c in chunks if c.get("choices")]
    assert "".join(delta.get("reasoning", "") for delta in deltas) == THOUGHT
    assert "".join(delta.get("content") or "" for delta in deltas) == SAID
    assert sum(len(delta.get("tool_calls", [])) for delta in deltas) == 1
