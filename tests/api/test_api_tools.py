"""Thinking, tool calls, probabilities and gaps over HTTP, from models whose answers are known.

The same request by each of the APIs gives the same text and calls.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from api_client import Fetch, answer, chat, error, events, generate, lines
from scripted_model import MESSAGES, write_scripts
from store_models import add_model

from jupyter_ollama.library.library import Library

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


async def test_a_part_has_thoughts_or_text(either: Fetch) -> None:
    """Several tokens come in one frame where they are faster than that, so it takes some tries."""
    prompt = generate(model="scripted", prompt="call it", options=OPTIONS)
    for _ in range(10):
        for message in [
            *(
                part["message"]
                for part in lines(await either("POST", "/api/chat", ask(stream=True)))
            ),
            *lines(await either("POST", "/api/generate", prompt)),
        ]:
            assert not (message.get("thinking") and message.get("content", message.get("response")))


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


async def test_tokens_have_their_probabilities(either: Fetch) -> None:
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
    reported = [one for part in streamed for one in part.get("logprobs", [])]
    assert [one["token"] for one in reported] == [one["token"] for one in body["logprobs"]]
    assert "top_logprobs" not in reported[0]


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


PET = {
    "type": "object",
    "properties": {"pet": {"$ref": "#/$defs/Pet"}, "friend": {"$ref": "#/properties/pet"}},
    "required": ["pet", "friend"],
    "$defs": {
        "Pet": {
            "type": "object",
            "properties": {"kind": {"$ref": "#/definitions/Kind"}},
            "required": ["kind"],
        }
    },
    "definitions": {"Kind": {"enum": ["cat", "dog"]}},
}
BOX = {"$ref": "#/$defs/Box", "$defs": {
    "Box": {"type": "object", "properties": {"size": {"$ref": "#/$defs/S"}}, "required": ["size"]},
    "S": {"enum": [1, 2]},
}}  # fmt: skip
PARAMETERS = {
    "adopt": PET,
    "pack": BOX,
    "same_name": {"type": "object", "properties": {"p": {"$ref": "#/$defs/Pet"}},
                  "required": ["p"], "$defs": {"Pet": {"enum": ["fish"]}}},
    "ping": {"type": "object"},
    "pong": {"type": "object", "properties": {}},
    "left_out": None,
}  # fmt: skip


async def forced_by(
    fetch: Fetch, path: str, functions: list[dict[str, Any]], name: str | None
) -> tuple[str, dict[str, Any]]:
    """Ask by one of the APIs for a call, of any function or of one; return what was called."""
    wrapped = [{"type": "function", "function": function} for function in functions]
    chosen: Any = {"type": "function", "function": {"name": name}} if name else "required"
    said = {"role": "user", "content": "plain"}
    if path == "/api/chat":
        body = ask(messages=[said], tools=wrapped, tool_choice=chosen, think=False)
        body["parallel_tool_calls"] = False
        call = (await answer(fetch, path, body))["message"]["tool_calls"][0]["function"]
        return call["name"], call["arguments"]
    asked = {"model": "scripted", "temperature": 0, "think": False, "parallel_tool_calls": False}
    if path == "/v1/chat/completions":
        body = asked | {"messages": [said], "tools": wrapped, "tool_choice": chosen}
        message = (await answer(fetch, path, body))["choices"][0]["message"]
        call = message["tool_calls"][0]["function"]
        return call["name"], json.loads(call["arguments"])
    if path == "/v1/responses":
        flat = [{"type": "function"} | function for function in functions]
        choice = {"type": "function", "name": name} if name else "required"
        body = asked | {"input": "plain", "tools": flat, "tool_choice": choice}
        (call,) = [one for one in (await answer(fetch, path, body))["output"]
                   if one["type"] == "function_call"]  # fmt: skip
        return call["name"], json.loads(call["arguments"])
    tools = [
        {"name": one["name"], "input_schema": one.get("parameters") or {}} for one in functions
    ]
    choice = {"type": "tool", "name": name} if name else {"type": "any"}
    choice["disable_parallel_tool_use"] = True
    body = asked | {"max_tokens": 400, "messages": [said], "tools": tools, "tool_choice": choice}
    (block,) = [one for one in (await answer(fetch, path, body))["content"]
                if one["type"] == "tool_use"]  # fmt: skip
    return block["name"], block["input"]


FORCING = ("/api/chat", "/v1/chat/completions", "/v1/responses", "/v1/messages")


@pytest.mark.parametrize("path", FORCING)
@pytest.mark.parametrize("name", PARAMETERS)
async def test_forced_calls_fit_the_parameters(standalone: Fetch, path: str, name: str) -> None:
    functions = [
        {"name": one} | ({"parameters": schema} if schema is not None else {})
        for one, schema in PARAMETERS.items()
    ]
    called, arguments = await forced_by(standalone, path, functions, name)
    assert called == name
    jsonschema.validate(arguments, PARAMETERS[name] or {})
    if name in ("ping", "pong", "left_out"):
        assert arguments == {}
    only = [one for one in functions if one["name"] == name]
    called, arguments = await forced_by(standalone, path, only, None)
    assert called == name
    jsonschema.validate(arguments, PARAMETERS[name] or {})
