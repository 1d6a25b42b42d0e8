"""ollama-python, in both its kinds, with models whose answers are known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import ollama
import pytest
from conformance_scripts import JOKE, NUMBER, PLAIN, SAID, THOUGHT
from pydantic import BaseModel

GREEDY = {"temperature": 0, "num_predict": 12}
ASKED = [{"role": "user", "content": "call it"}]
JOKE_ASKED = [{"role": "user", "content": "Tell me a joke about cats."}]
SUM = [{"role": "user", "content": "What is 3^3?"}]


class Joke(BaseModel):
    """A joke that has one wording only."""

    setup: Literal["What do cats read?"]
    punchline: Literal["The mews."]


def get_weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: Where.
    """
    return f"sunny in {city}"


class Both:
    """One client whose calls go through ollama.Client or ollama.AsyncClient."""

    def __init__(self, host: str, kind: str) -> None:
        self.kind = kind
        self.client: Any = getattr(ollama, kind)(host=host)
        self.loop = asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            answer = getattr(self.client, name)(*arguments, **named)
            if self.kind == "Client":
                return list(answer) if named.get("stream") else answer
            return self.loop.run_until_complete(self._finish(answer, named.get("stream")))

        return call

    async def _finish(self, answer: Any, stream: bool | None) -> Any:
        return [part async for part in await answer] if stream else await answer


@pytest.fixture(params=["Client", "AsyncClient"])
def client(request: pytest.FixtureRequest, host: str) -> Iterator[Both]:
    """The two clients one after the other."""
    both = Both(host, request.param)
    yield both
    closed = both.client.close()
    if closed is not None:
        both.loop.run_until_complete(closed)
    both.loop.close()


def test_generate(client: Both) -> None:
    answer = client.generate("smollm2", "Once upon a time", raw=True, options=GREEDY)
    assert (answer.done, answer.done_reason, answer.eval_count) == (True, "length", 12)
    assert answer.response
    parts = client.generate("caller", "hello", stream=True)
    assert "".join(part.response for part in parts) == PLAIN
    assert parts[-1].context


def test_chat(client: Both) -> None:
    answer = client.chat("caller", [{"role": "user", "content": "hello"}])
    assert (answer.message.role, answer.message.content) == ("assistant", PLAIN)
    parts = client.chat("caller", [{"role": "user", "content": "hello"}], stream=True)
    assert len(parts) > 2
    assert "".join(part.message.content for part in parts) == PLAIN
    assert parts[-1].prompt_eval_count > 0


def test_tools(client: Both) -> None:
    answer = client.chat("caller", ASKED, tools=[get_weather])
    (call,) = answer.message.tool_calls
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Paris"})
    assert answer.message.content == SAID
    result = {"role": "tool", "tool_name": "get_weather", "content": get_weather("Paris")}
    answer = client.chat("caller", [*ASKED, answer.message, result], tools=[get_weather])
    assert (answer.message.content, answer.message.tool_calls) == (PLAIN, None)
    parts = client.chat("caller", ASKED, tools=[get_weather], stream=True)
    calls = [call for part in parts for call in part.message.tool_calls or []]
    assert [call.function.arguments for call in calls] == [{"city": "Paris"}]


def test_think(client: Both) -> None:
    answer = client.chat("thinker", SUM, think=True)
    assert (answer.message.thinking, answer.message.content) == (THOUGHT, NUMBER)
    answer = client.generate("thinker", "What is 3^3?", think=True)
    assert (answer.thinking, answer.response) == (THOUGHT, NUMBER)
    parts = client.chat("thinker", SUM, think=True, stream=True)
    assert "".join(part.message.thinking or "" for part in parts) == THOUGHT
    assert "".join(part.message.content or "" for part in parts) == NUMBER
    answer = client.chat("thinker", SUM, think=False)
    assert (answer.message.thinking, answer.message.content) == (None, NUMBER)
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        client.chat("smollm2", SUM, think=True)


def test_format(client: Both) -> None:
    for format in ("json", Joke.model_json_schema()):
        answer = client.chat("caller", JOKE_ASKED, format=format)
        assert json.loads(answer.message.content) == JOKE
    answer = client.generate(
        "smollm2",
        "Where is Paris?",
        format={"type": "object", "properties": {"in": {"enum": ["France"]}}, "required": ["in"]},
        options={"temperature": 0},
    )
    assert json.loads(answer.response) == {"in": "France"}


def test_embed(client: Both) -> None:
    answer = client.embed("all-minilm", ["one", "two"])
    assert [len(vector) for vector in answer.embeddings] == [384, 384]
    assert answer.prompt_eval_count > 0
    assert len(client.embed("all-minilm", "one", dimensions=64).embeddings[0]) == 64
    assert len(client.embeddings("all-minilm", "one").embedding) == 384


def test_logprobs(client: Both) -> None:
    answer = client.chat("caller", ASKED, logprobs=True, top_logprobs=2)
    assert "".join(one.token for one in answer.logprobs) == PLAIN
    assert {len(one.top_logprobs) for one in answer.logprobs} == {2}


def test_models(client: Both) -> None:
    names = {model.model for model in client.list().models}
    assert {"smollm2:latest", "all-minilm:latest", "caller:latest"} <= names
    shown = client.show("thinker")
    assert {"completion", "tools", "thinking"} <= set(shown.capabilities)
    assert shown.details.family == "llama"
    assert shown.modelinfo["general.architecture"] == "llama"
    client.generate("smollm2", keep_alive="5m")
    assert "smollm2:latest" in {model.model for model in client.ps().models}
    created = client.create("pirate", from_="smollm2", system="Arr.", parameters={"seed": 1})
    assert created.status == "success"
    steps = client.create("sailor", from_="pirate", stream=True)
    assert steps[-1].status == "success"
    assert client.copy("pirate", "captain").status == "success"
    assert "Arr." in client.show("captain").modelfile
    for name in ("pirate", "captain", "sailor"):
        assert client.delete(name).status == "success"
    assert {model.model for model in client.list().models} == names


def test_errors(client: Both) -> None:
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("generate", ("absent", "x"), {}),
        ("chat", ("absent", ASKED), {}),
        ("chat", ("absent", ASKED), {"stream": True}),
        ("embed", ("absent", "x"), {}),
        ("show", ("absent",), {}),
        ("delete", ("absent",), {}),
        ("copy", ("absent", "other"), {}),
    ]
    for method, arguments, named in calls:
        with pytest.raises(ollama.ResponseError, match="not found") as caught:
            getattr(client, method)(*arguments, **named)
        assert caught.value.status_code == 404, method
    with pytest.raises(ollama.ResponseError, match="does not support tools") as caught:
        client.chat("smollm2", ASKED, tools=[get_weather])
    assert caught.value.status_code == 400
