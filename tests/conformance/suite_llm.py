"""llm with llm-ollama, by its Python interface and by its command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from conformance_scripts import JOKE, NUMBER, PLAIN
from pydantic import BaseModel


class Joke(BaseModel):
    """A joke that has one wording only."""

    setup: Literal["What do cats read?"]
    punchline: Literal["The mews."]


@pytest.fixture(autouse=True)
def settings(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point llm-ollama to the server and llm to a folder of its own."""
    monkeypatch.setenv("OLLAMA_HOST", f"http://{host}")
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))


def command(*arguments: str) -> str:
    """Run `llm` and return what it prints."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "llm"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_prompt() -> None:
    import llm

    answer = llm.get_model("ollama/caller:latest").prompt("hello")
    assert "".join(answer) == PLAIN
    assert answer.usage().output
    assert llm.get_model("ollama/caller").prompt("hello", stream=False).text() == PLAIN


def test_conversation() -> None:
    import llm

    conversation = llm.get_model("ollama/smollm2:latest").conversation()
    conversation.prompt("The capital of France?", temperature=0, num_predict=20).text()
    again = conversation.prompt("And of Italy?", temperature=0, num_predict=20)
    assert again.text()
    assert len(conversation.responses) == 2


def test_tools() -> None:
    import llm

    def get_weather(city: str) -> str:
        """Tell the weather of a city."""
        return f"sunny in {city}"

    chain = llm.get_model("ollama/caller:latest").chain("call it", tools=[get_weather])
    assert chain.text().endswith(PLAIN)


def test_schema() -> None:
    import llm

    model = llm.get_model("ollama/caller:latest")
    answer = model.prompt("Tell me a joke about cats.", schema=Joke)
    assert json.loads(answer.text()) == JOKE


def test_thoughts() -> None:
    import llm

    model = llm.get_model("ollama/thinker:latest")
    assert model.prompt("What is 3^3?", think=True).text() == NUMBER


def test_embeddings() -> None:
    import llm

    model = llm.get_embedding_model("ollama/all-minilm:latest")
    assert [len(vector) for vector in model.embed_multi(["one", "two"])] == [384, 384]


def test_command() -> None:
    assert "ollama/smollm2:latest" in command("models", "list")
    assert command("-m", "ollama/caller:latest", "--no-log", "hello").strip() == PLAIN
    assert "all-minilm" in command("ollama", "models")
