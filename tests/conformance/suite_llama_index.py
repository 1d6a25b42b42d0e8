"""llama-index-llms-ollama and llama-index-embeddings-ollama."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest
from conformance_scripts import JOKE, NUMBER, PLAIN, THOUGHT
from llama_index.core.base.llms.types import ThinkingBlock
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama
from pydantic import BaseModel

HELLO = [ChatMessage(role="user", content="hello")]


class Joke(BaseModel):
    """A joke that has one wording only."""

    setup: Literal["What do cats read?"]
    punchline: Literal["The mews."]


def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


@pytest.fixture
def llm(host: str) -> Ollama:
    return Ollama(model="caller", base_url=f"http://{host}", context_window=2048)


def test_complete(llm: Ollama) -> None:
    assert llm.complete("hello").text == PLAIN
    assert "".join(part.delta or "" for part in llm.stream_complete("hello")) == PLAIN
    assert asyncio.run(llm.acomplete("hello")).text == PLAIN


def test_chat(llm: Ollama) -> None:
    assert llm.chat(HELLO).message.content == PLAIN
    assert "".join(part.delta or "" for part in llm.stream_chat(HELLO)) == PLAIN
    answer = asyncio.run(llm.achat(HELLO))
    assert answer.message.content == PLAIN
    assert answer.raw["usage"]["total_tokens"] > 0


def test_async_stream(llm: Ollama) -> None:
    async def gather() -> str:
        return "".join([part.delta or "" async for part in await llm.astream_chat(HELLO)])

    assert asyncio.run(gather()) == PLAIN


def test_tools(llm: Ollama) -> None:
    tool = FunctionTool.from_defaults(get_weather)
    answer = llm.chat_with_tools([tool], user_msg="call it")
    (call,) = llm.get_tool_calls_from_response(answer)
    assert (call.tool_name, call.tool_kwargs) == ("get_weather", {"city": "Paris"})
    assert "sunny in Paris" in str(llm.predict_and_call([tool], user_msg="call it").response)


def test_structured(llm: Ollama) -> None:
    prompt = PromptTemplate("Tell me a joke about {animals}.")
    assert llm.structured_predict(Joke, prompt, animals="cats") == Joke(**JOKE)
    *_, last = llm.stream_structured_predict(Joke, prompt, animals="cats")
    assert last == Joke(**JOKE)


def test_json_mode(host: str) -> None:
    llm = Ollama(model="caller", base_url=f"http://{host}", json_mode=True, context_window=2048)
    assert Joke.model_validate_json(llm.complete("Tell me a joke about cats.").text)


def test_thoughts(host: str) -> None:
    llm = Ollama(model="thinker", base_url=f"http://{host}", thinking=True, context_window=2048)
    message = llm.chat([ChatMessage(role="user", content="What is 3^3?")]).message
    thoughts = [block.content for block in message.blocks if isinstance(block, ThinkingBlock)]
    assert (thoughts, message.content) == ([THOUGHT], NUMBER)


def test_embeddings(host: str) -> None:
    model = OllamaEmbedding(model_name="all-minilm", base_url=f"http://{host}")
    assert len(model.get_query_embedding("one")) == 384
    vectors = model.get_text_embedding_batch(["one", "two", "three"])
    assert [len(vector) for vector in vectors] == [384] * 3
    assert asyncio.run(model.aget_text_embedding("one")) == pytest.approx(vectors[0], abs=1e-6)
