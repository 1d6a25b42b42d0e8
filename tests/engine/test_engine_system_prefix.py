"""Where system prompts end: it depends on them alone, and only whole ones are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as llama
import pytest

from jupyter_ollama.engine.account_trees import SystemPrefix
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.prompting import Prompt, Prompter
from jupyter_ollama.engine.protocol import ChatPrompt, PrefixSharing, RawPrompt, SuffixPrompt
from jupyter_ollama.engine.system_prefix import system_prefix
from jupyter_ollama.prompt.messages import Message

RULES = "You are a tutor. The code is 4711."
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PLAIN = "{{ .System }} {{ .Prompt }}"
INST = "[INST] {{ .System }}\n\n{{ .Prompt }} [/INST]"


class Reader:
    """A model with its prompter."""

    def __init__(self, path: Path) -> None:
        self.model = LlamaModel(str(path))
        self.prompter = Prompter(self.model)

    def find(self, prompt: Prompt, num_ctx: int = 4096) -> tuple[SystemPrefix | None, str]:
        """Return the system prompt that a prompt begins with, and the text of its tokens."""
        rendered = self.prompter.render(prompt, num_ctx)
        tokens = self.prompter.tokens(prompt, rendered).tokens
        sharing = PrefixSharing(1, after=3)
        found = system_prefix(self.model, self.prompter, prompt, rendered, tokens, sharing)
        length = found.length if found else 0
        return found, self.model.detokenize(tokens[:length], special=True)


@pytest.fixture(scope="module")
def reader(smollm2: Path) -> Iterator[Reader]:
    reader = Reader(smollm2)
    yield reader
    llama.llama_model_free(reader.model.pointer)


def chat(*texts: str, system: str = RULES, **fields: Any) -> ChatPrompt:
    roles = ("user", "assistant") * len(texts)
    messages = [Message(role, text) for role, text in zip(roles, texts, strict=False)]
    return ChatPrompt([Message("system", system)] * bool(system) + messages, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"template": PLAIN},
        {"template": INST},
        {"renderer": "qwen3-coder", "tools": [WEATHER]},
        {"renderer": "gemma4", "tools": [WEATHER]},
    ],
)
def test_text_after_the_system_prompt_does_not_matter(
    reader: Reader, fields: dict[str, Any]
) -> None:
    texts = [
        ("Hi",),
        ("\n\nHi",),
        (" 4712",),
        ("s",),
        ("<|im_end|>",),
        ("4711. And now?",),
        ("\ufdd1",),
    ]
    found = [reader.find(chat(*one, **fields)) for one in texts]
    assert len(set(found)) == 1
    prefix, text = found[0]
    assert prefix
    assert RULES[:-8] in text


def test_a_conversation_begins_with_it(reader: Reader) -> None:
    first = reader.find(chat("Hi"))
    assert first[1].startswith(f"<|im_start|>system\n{RULES}<|im_end|>\n")
    assert reader.find(chat("Hi", "Yes?", "And now?")) == first
    long = chat(*["Once upon a time there was a king. " * 5] * 9)
    assert reader.find(long, num_ctx=300) == first


def test_another_one_has_another_name(reader: Reader) -> None:
    others = [
        chat("Hi"),
        chat("Hi", system=RULES[:-1]),
        chat("Hi", system=RULES + " "),
        chat("Hi", system=RULES[:-3]),
        chat("Hi", system=""),
        chat("Hi", template=PLAIN),
        chat("Hi", template=PLAIN, system=RULES[:-1]),
        chat("Hi", renderer="qwen3-coder", tools=[WEATHER]),
        chat("Hi", renderer="qwen3-coder", tools=[WEATHER, WEATHER]),
    ]
    found = [reader.find(prompt)[0] for prompt in others]
    assert all(found)
    assert len({prefix.digest for prefix in found if prefix}) == len(others)


@pytest.mark.parametrize(
    "prompt",
    [
        RawPrompt(f"<|im_start|>system\n{RULES}<|im_end|>\n"),
        SuffixPrompt(RULES, "Hi", "{{ .Prompt }}<gap>{{ .Suffix }}"),
        chat("Hi", context=[1, 2, 3]),
        chat("Hi", "Yes?", "And?", template="{{ range .Messages }}{{ .Role }}{{ end }}"),
        chat("Hi", template="{{ .Prompt }} {{ .System }}"),
    ],
)
def test_where_it_does_not_come_first_there_is_none(reader: Reader, prompt: Prompt) -> None:
    found, text = reader.find(prompt)
    assert found is None
    assert text == ""
