"""Answers that only repeat themselves end, and say so, in every API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from api_client import Fetch, answer, chat, generate, lines
from scripted_model import write_scripts
from store_models import add_model

from jupyter_ollama.config import OllamaServer
from jupyter_ollama.library.library import Library

if TYPE_CHECKING:
    import openai

SCRIPTS = {
    "sentence": "The capital of Italy is the city of Rome. ",
    "statement": "print(0)\n",
    "short": "It is Rome, of course.",
}
PREDICT = 3000
LONG = {"temperature": 0, "num_ctx": 4096, "num_predict": PREDICT}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a model that repeats the requested text without end, except "short"."""
    folder = tmp_path_factory.mktemp("endless")
    path = write_scripts(folder / "m.gguf", SCRIPTS, endless=("sentence", "statement"))
    library = Library.open(folder / "models")
    add_model(library, "endless", path)
    add_model(library, "allowed", path, parameters={"repetition_stop": False})
    return folder / "models"


@pytest.fixture
def models_dir(store: Path) -> Path:
    return store


def ask(script: str, **fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": script}]
    body = chat(messages=messages, options=LONG, stream=False)
    return body | {"model": "endless"} | fields


async def test_a_sentence_without_end_is_ended(either: Fetch) -> None:
    whole = await answer(either, "/api/chat", ask("sentence"))
    assert (whole["done_reason"], whole["repetition"]) == ("stop", True)
    text = whole["message"]["content"]
    assert len(text.split()) < 250
    assert text.startswith(2 * SCRIPTS["sentence"])
    parts = lines(await either("POST", "/api/chat", ask("sentence", stream=True)))
    assert "".join(part["message"]["content"] for part in parts) == text
    assert (parts[-1]["done_reason"], parts[-1]["repetition"]) == ("stop", True)
    assert parts[-1]["eval_count"] == whole["eval_count"]
    body = generate(model="endless", prompt="sentence", options=LONG, stream=False)
    end = await answer(either, "/api/generate", body)
    assert (end["done_reason"], end["repetition"], end["response"]) == ("stop", True, text)


async def test_a_list_of_statements_may_be_longer(standalone: Fetch) -> None:
    whole = await answer(standalone, "/api/chat", ask("statement"))
    assert whole["repetition"] is True
    assert whole["message"]["content"].count("print(0)") > 200


async def test_other_answers_say_nothing_of_it(standalone: Fetch) -> None:
    whole = await answer(standalone, "/api/chat", ask("short"))
    assert whole["message"]["content"] == SCRIPTS["short"]
    assert "repetition" not in whole
    few = ask("sentence", options=LONG | {"num_predict": 50})
    whole = await answer(standalone, "/api/chat", few)
    assert (whole["done_reason"], "repetition" in whole) == ("length", False)


async def test_the_option_switches_it_off_and_on(
    standalone: Fetch, ollama_server: OllamaServer
) -> None:
    async def ended(model: str, **options: bool) -> bool:
        body = ask("sentence", model=model, options=LONG | {"num_predict": 600} | options)
        end = await answer(standalone, "/api/chat", body)
        assert end.get("repetition", False) == (end["done_reason"] == "stop")
        return end["done_reason"] == "stop"

    assert await ended("endless")
    assert not await ended("endless", repetition_stop=False)
    assert not await ended("allowed")
    assert await ended("allowed", repetition_stop=True)
    ollama_server.repetition_stop = False
    assert not await ended("endless")
    assert await ended("endless", repetition_stop=True)


async def test_openai_and_anthropic_say_that_the_answer_ended(
    standalone: Fetch, openai_client: openai.AsyncOpenAI
) -> None:
    messages: Any = [{"role": "user", "content": "sentence"}]
    asked = await openai_client.chat.completions.create(
        model="endless", messages=messages, max_tokens=PREDICT, temperature=0
    )
    assert asked.choices[0].finish_reason == "stop"
    assert asked.usage
    assert asked.usage.completion_tokens < PREDICT
    body = {"model": "endless", "max_tokens": PREDICT, "messages": messages, "temperature": 0}
    response = await standalone("POST", "/v1/messages", body)
    message = json.loads(response.body)
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["output_tokens"] == asked.usage.completion_tokens
