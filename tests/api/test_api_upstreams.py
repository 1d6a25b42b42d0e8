"""Models of upstreams by all APIs: a second real server, asked by each of its two APIs."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import numpy as np
import openai
import pytest
import starter_models
from api_client import Fetch, answer, chat, error, events, lines, wait_until
from image_files import noise, saved
from scripted_model import MESSAGES, write_scripts
from shared_server import Shared, sharing
from store_models import add_model, add_seeing_model

from jupyter_ollama.library.library import Library

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
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
CALL = {"role": "user", "content": "call it"}
PLAINLY = {"role": "user", "content": "say the plain words"}
OPTIONS = {"temperature": 0}


@pytest.fixture(scope="module")
def upstream_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model that thinks and calls, one that sees, and one that embeds."""
    folder = tmp_path_factory.mktemp("upstream")
    path = write_scripts(
        folder / "scripted.gguf",
        {"plain": PLAIN, "call": SCRIPT, "endless": "On and on it goes, "},
        special=("<think>", "</think>", "<tool_call>", "</tool_call>"),
        template=TEMPLATE + MESSAGES,
        begins_after="!",
        endless=("endless",),
    )
    library = Library.open(folder / "models")
    add_model(library, "scripted", path)
    add_seeing_model(library, "seeing", folder)
    starter_models.register("all-minilm", library)
    return folder / "models"


@dataclass
class Pair:
    """A server, and the one that it has as an upstream."""

    front: Shared
    back: Shared
    api: str

    @property
    def fetch(self) -> Fetch:
        return self.front.user("ann")


@asynccontextmanager
async def pair(store: Path, nothing: Path, api: str, **traits: Any) -> AsyncIterator[Pair]:
    """Run both servers; the front one has no models of its own."""
    async with sharing(models_dir=str(store), repetition_stop=False) as back:
        fields = {"capabilities": CAPABILITIES} if api == "openai" else {}
        given = {"gpu": {"url": back.url, "api": api, **fields}}
        given = traits.pop("upstreams", given)
        async with sharing(models_dir=str(nothing), upstreams=given, **traits) as front:
            yield Pair(front, back, api)


CAPABILITIES = {
    "scripted*": ["completion", "tools", "thinking"],
    "seeing*": ["completion", "vision"],
    "*minilm*": ["embedding"],
}


@pytest.fixture(params=["ollama", "openai"])
def servers(
    request: pytest.FixtureRequest, upstream_store: Path, tmp_path: Path, jp_asyncio_loop: Any
) -> Any:
    context = pair(upstream_store, tmp_path / "none", request.param)
    yield jp_asyncio_loop.run_until_complete(context.__aenter__())
    jp_asyncio_loop.run_until_complete(context.__aexit__(None, None, None))


def ask(**fields: Any) -> dict[str, Any]:
    return chat(messages=[CALL], options=OPTIONS, tools=TOOLS) | {"model": "scripted"} | fields


def joined(parts: list[dict[str, Any]], name: str) -> str:
    return "".join(part["message"].get(name, "") for part in parts)


async def test_lists_and_descriptions(servers: Pair) -> None:
    models = json.loads((await servers.fetch("GET", "/api/tags")).body)["models"]
    found = {one["name"]: one for one in models}
    assert {*found} == {"scripted:latest", "seeing:latest", "all-minilm:latest"}
    assert set(found["scripted:latest"]["capabilities"]) >= {"completion", "tools", "thinking"}
    assert found["scripted:latest"]["remote_host"] == "gpu"
    listed = json.loads((await servers.fetch("GET", "/v1/models")).body)["data"]
    assert {one["id"] for one in listed} == {*found}
    one = await servers.fetch("GET", "/v1/models/scripted")
    assert json.loads(one.body)["id"] == "scripted"
    shown = await answer(servers.fetch, "/api/show", {"model": "scripted"})
    assert set(shown["capabilities"]) >= {"completion", "tools", "thinking"}
    assert "/models/" not in json.dumps(shown["modelfile"])
    if servers.api == "ollama":
        here = await servers.back.user("x")("POST", "/api/show", {"model": "scripted"})
        assert shown["model_info"] == json.loads(here.body)["model_info"]
        assert found["scripted:latest"]["size"] > 0
    missing = await servers.fetch("POST", "/api/show", {"model": "nothing"})
    assert (missing.code, error(missing)) == (404, "model 'nothing:latest' not found")


async def test_loaded_models_are_listed_where_the_upstream_says_so(servers: Pair) -> None:
    await answer(servers.fetch, "/api/chat", ask(stream=False))
    body = json.loads((await servers.fetch("GET", "/api/ps")).body)["models"]
    assert [one["name"] for one in body] == ["scripted:latest"] * (servers.api == "ollama")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_chat_thinks_speaks_and_calls(servers: Pair, stream: bool) -> None:
    response = await servers.fetch("POST", "/api/chat", ask(stream=stream))
    assert response.code == 200, response.body
    parts = lines(response)
    assert len(parts) > 1 if stream else len(parts) == 1  # drafts make parts long
    assert joined(parts, "thinking").strip() == THOUGHT
    assert joined(parts, "content").strip() == SAID
    (call,) = [one for part in parts for one in part["message"].get("tool_calls", [])]
    assert call["function"] == {"index": 0, "name": "get_weather", "arguments": ARGUMENTS}
    assert call["id"]
    end = parts[-1]
    direct = lines(await servers.back.user("x")("POST", "/api/chat", ask(stream=stream)))[-1]
    for name in ("done", "done_reason", "prompt_eval_count", "eval_count"):
        assert end[name] == direct[name]


async def test_options_reach_the_upstream(servers: Pair) -> None:
    asked = ask(messages=[PLAINLY], stream=False, tools=[], think=False)
    cut = await answer(servers.fetch, "/api/chat", asked | {"options": {"num_predict": 3}})
    assert (cut["done_reason"], cut["eval_count"]) == ("length", 3)
    stopped = await answer(servers.fetch, "/api/chat", asked | {"options": {"stop": ["called"]}})
    assert stopped["message"]["content"] == PLAIN.partition("called")[0]
    assert stopped["done_reason"] == "stop"


async def test_results_of_tools_go_back(servers: Pair) -> None:
    call = {"function": {"name": "get_weather", "arguments": ARGUMENTS}}
    messages = [
        CALL,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "say the plain words", "tool_name": "get_weather"},
    ]
    found = await answer(servers.fetch, "/api/chat", ask(messages=messages, stream=False))
    assert found["message"]["content"] == PLAIN


async def test_a_required_call_is_made(servers: Pair) -> None:
    asked = ask(messages=[PLAINLY], stream=False, tool_choice="required")
    found = await answer(servers.fetch, "/api/chat", asked | {"options": {"num_predict": 200}})
    assert found["done_reason"] in ("stop", "length")
    text = found["message"]["content"]
    assert found["message"].get("tool_calls") or text != PLAIN


async def test_a_format_holds(servers: Pair) -> None:
    schema = {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"]}
    asked = ask(messages=[PLAINLY], stream=False, tools=[], think=False, format=schema)
    found = await answer(servers.fetch, "/api/chat", asked)
    assert json.loads(found["message"]["content"]) == {"n": 7}


async def test_probabilities_come_back(servers: Pair) -> None:
    asked = ask(messages=[PLAINLY], stream=False, tools=[], logprobs=True, top_logprobs=2)
    found = await answer(servers.fetch, "/api/chat", asked)
    assert "".join(one["token"] for one in found["logprobs"]).startswith(PLAIN)
    assert all(one["logprob"] <= 0 for one in found["logprobs"])
    assert len(found["logprobs"][0]["top_logprobs"]) == 2


async def test_generate(servers: Pair) -> None:
    body = {"model": "scripted", "prompt": "say the plain words", "think": False}
    found = await answer(servers.fetch, "/api/generate", body | {"stream": False})
    assert found["response"] == PLAIN
    assert "".join(p["response"] for p in lines(await servers.fetch("POST", "/api/generate", body)))
    raw = {"model": "scripted", "prompt": "Go!", "raw": True, "stream": False}
    assert (await answer(servers.fetch, "/api/generate", raw))["response"] == PLAIN
    for field in ({"context": [1, 2]}, {"template": "{{ .Prompt }}"}):
        refused = await servers.fetch("POST", "/api/generate", body | field)
        assert refused.code == 400
        assert next(iter(field)) in error(refused)


async def test_images_reach_the_upstream(servers: Pair) -> None:
    image = base64.b64encode(saved(noise(64, 64))).decode()
    asked = {"model": "seeing", "options": {"num_predict": 2, "temperature": 0}, "stream": False}
    with_one = [{"role": "user", "content": "What?", "images": [image]}]
    without = [{"role": "user", "content": "What?"}]
    seen = await answer(servers.fetch, "/api/chat", asked | {"messages": with_one})
    unseen = await answer(servers.fetch, "/api/chat", asked | {"messages": without})
    assert seen["prompt_eval_count"] > unseen["prompt_eval_count"] + 10
    refused = await servers.fetch("POST", "/api/chat", ask(messages=with_one))
    assert (refused.code, error(refused)) == (400, '"scripted" does not support vision')


async def test_embeddings_are_those_of_the_upstream(servers: Pair) -> None:
    body = {"model": "all-minilm", "input": ["Hello there", "A cat"]}
    here = await answer(servers.fetch, "/api/embed", body)
    there = await answer(servers.back.user("x"), "/api/embed", body)
    assert np.allclose(here["embeddings"], there["embeddings"], atol=1e-6)
    assert here["prompt_eval_count"] == there["prompt_eval_count"]
    old = {"model": "all-minilm", "prompt": "Hello there"}
    vector = (await answer(servers.fetch, "/api/embeddings", old))["embedding"]
    cosine = np.dot(vector, there["embeddings"][0]) / np.linalg.norm(vector)
    assert cosine > 0.9999
    for encoding_format in ("float", "base64"):
        asked = body | {"encoding_format": encoding_format}
        found = await answer(servers.fetch, "/v1/embeddings", asked)
        vectors = [one["embedding"] for one in found["data"]]
        if encoding_format == "base64":
            vectors = [np.frombuffer(base64.b64decode(one), "<f4") for one in vectors]
        assert np.allclose(vectors, there["embeddings"], atol=1e-6)


async def test_openais_client(servers: Pair) -> None:
    async with openai.AsyncOpenAI(base_url=servers.front.url + "/v1", api_key="x") as client:
        asked: Any = {"model": "scripted", "messages": [CALL], "tools": TOOLS}
        whole = await client.chat.completions.create(**asked)
        (call,) = whole.choices[0].message.tool_calls or []
        assert json.loads(call.function.arguments) == ARGUMENTS
        assert whole.choices[0].finish_reason == "tool_calls"
        assert whole.usage
        assert whole.usage.completion_tokens > 5
        stream = await client.chat.completions.create(
            **asked, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text.strip() == SAID
        assert chunks[-1].usage
        assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
        assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
        response = await client.responses.create(model="scripted", input="say the plain words")
        assert response.output_text == PLAIN
        body = {"model": "scripted", "prompt": "Go!", "max_tokens": 100}
        completed = await client.completions.create(**body)
        if servers.api == "openai":
            assert completed.choices[0].text == PLAIN
        assert completed.choices[0].finish_reason == "stop"
        streamed = await servers.fetch("POST", "/v1/completions", body | {"stream": True})
        assert events(streamed)[-1] == {"done": True}


async def test_anthropics_client(servers: Pair) -> None:
    tools: Any = [{"name": "get_weather", "input_schema": CITY}]
    async with anthropic.AsyncAnthropic(base_url=servers.front.url, api_key="x") as client:
        asked: Any = {"model": "scripted", "max_tokens": 200, "messages": [CALL], "tools": tools}
        found = await client.messages.create(**asked)
        assert found.stop_reason == "tool_use"
        assert [one.input for one in found.content if one.type == "tool_use"] == [ARGUMENTS]
        async with client.messages.stream(**asked) as stream:
            end = await stream.get_final_message()
        assert [one.type for one in end.content] == [one.type for one in found.content]
        assert end.usage.output_tokens == found.usage.output_tokens


async def test_what_no_upstream_can_do_is_refused(servers: Pair) -> None:
    model = {"model": "scripted"}
    for path, body in (
        ("/api/score", {"prompt": "a", "continuations": ["b"]}),
        ("/api/tokenize", {"content": "a"}),
        ("/api/detokenize", {"tokens": [1]}),
        ("/api/chat", {"messages": [CALL], "_debug_render_only": True}),
    ):
        refused = await servers.fetch("POST", path, model | body)
        assert refused.code == 501, path
        assert 'model "scripted:latest" runs on the upstream "gpu"' in error(refused)
    stopped = await servers.fetch("POST", "/api/chat", model | {"messages": [], "keep_alive": 0})
    assert stopped.code == 400
    grammar = ask(format={"grammar": 'root ::= "a"'}, tools=[], think=False, stream=False)
    found = await servers.fetch("POST", "/api/chat", grammar)
    assert found.code == (501 if servers.api == "openai" else 200), found.body


async def test_hanging_up_ends_the_work_of_the_upstream(servers: Pair) -> None:
    asked = ask(messages=[{"role": "user", "content": "endless"}], tools=[])
    task = asyncio.create_task(servers.fetch("POST", "/api/chat", asked))
    await wait_until(lambda: servers.back.server.requests_running == 1)
    await asyncio.sleep(0.3)
    requests = json.loads((await servers.fetch("GET", "/admin/requests")).body)["requests"]
    assert [(one["model"], one["upstream"]) for one in requests] == [("scripted:latest", "gpu")]
    name = requests[0]["id"]
    assert (await servers.fetch("DELETE", f"/admin/requests/{name}")).code == 200
    await wait_until(lambda: servers.back.server.requests_running == 0)
    assert lines(await task)[-1] == {"error": "request canceled"}
    (account,) = servers.front.server.admission.accounts.values()
    assert account.running == 0
