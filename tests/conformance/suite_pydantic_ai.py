"""pydantic-ai with its Ollama model and provider, and with its OpenAI model."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from conformance_scripts import JOKE, NUMBER, PLAIN, THOUGHT
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ThinkingPart
from pydantic_ai.models import Model
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider


class Joke(BaseModel):
    """A joke that has one wording only."""

    setup: Literal["What do cats read?"]
    punchline: Literal["The mews."]


def model_of(kind: str, host: str, name: str) -> Model:
    """Return a new model: one may only be used in one event loop."""
    url = f"http://{host}/v1"
    if kind == "ollama":
        return OllamaModel(name, provider=OllamaProvider(base_url=url))
    provider = OpenAIProvider(base_url=url, api_key="unused")
    chat = kind == "openai chat"
    return (OpenAIChatModel if chat else OpenAIResponsesModel)(name, provider=provider)


@pytest.fixture(params=["ollama", "openai chat", "openai responses"])
def kind(request: pytest.FixtureRequest) -> str:
    """The models of pydantic-ai that speak to Ollama."""
    name: str = request.param
    return name


def test_run(kind: str, host: str) -> None:
    answer = Agent(model_of(kind, host, "caller"), instructions="Be kind.").run_sync("hello")
    assert answer.output == PLAIN
    assert answer.usage.input_tokens > 0


def test_stream(kind: str, host: str) -> None:
    async def gather() -> list[str]:
        agent = Agent(model_of(kind, host, "caller"))
        async with agent.run_stream("hello") as answer:
            return [text async for text in answer.stream_text(delta=True, debounce_by=None)]

    assert "".join(asyncio.run(gather())) == PLAIN


def test_tools(kind: str, host: str) -> None:
    asked = []

    def get_weather(city: str) -> str:
        """Tell the weather of a city."""
        asked.append(city)
        return "sunny"

    agent = Agent(model_of(kind, host, "caller"), tools=[get_weather])
    assert agent.run_sync("call both").output == PLAIN
    assert sorted(asked) == ["Paris", "Rome"]  # pydantic-ai calls them at once


def test_output_by_tool(kind: str, host: str) -> None:
    agent = Agent(model_of(kind, host, "caller"), output_type=Joke)
    assert agent.run_sync("Tell me a joke about dogs.").output == Joke(**JOKE)


def test_native_output(kind: str, host: str) -> None:
    agent = Agent(model_of(kind, host, "caller"), output_type=NativeOutput(Joke))
    assert agent.run_sync("Tell me a joke about cats.").output == Joke(**JOKE)


def test_thoughts(kind: str, host: str) -> None:
    answer = Agent(model_of(kind, host, "thinker")).run_sync("What is 3^3?")
    parts = [part for message in answer.all_messages() for part in message.parts]
    assert [part.content for part in parts if isinstance(part, ThinkingPart)] == [THOUGHT]
    assert answer.output == NUMBER


def test_errors(kind: str, host: str) -> None:
    with pytest.raises(ModelHTTPError) as caught:
        Agent(model_of(kind, host, "absent")).run_sync("hello")
    assert caught.value.status_code == 404
