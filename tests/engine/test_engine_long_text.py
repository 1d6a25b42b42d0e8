"""Texts much longer than their contexts, of which only the ends are tokenized."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from jupyter_ollama.engine.llama_model import MARKUP_PIECE, LlamaModel
from jupyter_ollama.engine.pooled_text import text_tokens
from jupyter_ollama.engine.prompting import TOO_LONG, Prompter
from jupyter_ollama.engine.protocol import ChatPrompt, RawPrompt
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.prompt.messages import Message

NUM_CTX = 512
WORDS = [
    "the",
    "context",
    "of",
    "a",
    "model",
    "holds",
    "fewer",
    "tokens",
    "than",
    "this",
    "text",
    "has,",
    "by",
    "far",
]
CHATML = (
    "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)


class Counting(LlamaModel):
    """A model that counts the characters it tokenizes."""

    read = 0

    def tokenize(self, text: str, *, special: bool, parse_special: bool = True) -> list[int]:
        self.read += len(text)
        return super().tokenize(text, special=special, parse_special=parse_special)


@pytest.fixture(scope="module")
def model(smollm2: Path) -> Counting:
    return Counting(smollm2, no_alloc=True)


@pytest.fixture(scope="module")
def encoder(minilm: Path) -> Counting:
    return Counting(minilm, no_alloc=True)


def long_text(kind: str, length: int = 400_000) -> str:
    letters = random.Random(1)
    if kind == "words":
        return " ".join(letters.choices(WORDS, k=length // 5))
    if kind == "letters":
        return "".join(letters.choices("abcdefghijklmnopqrstuvwxyzé中", k=length))
    return {"blanks": " ", "lines": "\n", "guards": "\ufdd0a"}[kind] * length


@pytest.mark.parametrize("kind", ["words", "letters", "lines", "guards"])
def test_a_long_prompt_keeps_the_tokens_it_would_keep(model: Counting, kind: str) -> None:
    text = long_text(kind)
    prompter = Prompter(model)
    rendered = prompter.render(RawPrompt(text), NUM_CTX)
    whole = prompter.tokens(RawPrompt(text), rendered)
    assert len(whole.tokens) > 10 * NUM_CTX
    model.read = 0
    prompter = Prompter(model)  # the other one remembers the tokens of the whole
    cut = prompter.tokens(RawPrompt(text), rendered, NUM_CTX)
    assert model.read < len(text) / 5
    kept, lost = prompter.fit(cut, NUM_CTX, 20, truncate=True, shift=True)
    expected, exactly = prompter.fit(whole, NUM_CTX, 20, truncate=True, shift=True)
    assert kept == expected
    assert lost == pytest.approx(exactly, rel=0.1)
    for options in ({"truncate": False, "shift": True}, {"truncate": True, "shift": False}):
        with pytest.raises(OllamaError, match=r"context length|the input length"):
            prompter.fit(cut, NUM_CTX, 20, **options)


def test_a_long_text_of_few_tokens_is_whole(encoder: Counting, model: Counting) -> None:
    # WordPiece drops blanks, so the length of a text does not show its number of tokens.
    text = " " * 400_000 + "the end"
    assert text_tokens(encoder, text, NUM_CTX, truncate=False) == encoder.tokenize(
        "the end", special=True
    )
    prompter, raw = Prompter(model), RawPrompt("a" + " " * 100_000)
    rendered = prompter.render(raw, 20_000)
    assert prompter.tokens(raw, rendered, 2048) == prompter.tokens(raw, rendered)


@pytest.mark.parametrize("kind", ["words", "letters", "lines"])
def test_a_long_text_to_embed_keeps_the_tokens_it_would_keep(encoder: Counting, kind: str) -> None:
    text = "".join(long_text(kind))
    whole = encoder.tokenize(text, special=True, parse_special=False)
    if kind == "lines":
        assert whole == encoder.tokenize("", special=True)
        return
    encoder.read = 0
    tokens = text_tokens(encoder, text, NUM_CTX, truncate=True)
    assert tokens == [*whole[: NUM_CTX - 1], whole[-1]]
    assert encoder.read < len(text) / 5
    with pytest.raises(OllamaError, match=TOO_LONG):
        text_tokens(encoder, text, NUM_CTX, truncate=False)


def test_a_conversation_of_many_messages_is_read_hardly_more_than_once(model: Counting) -> None:
    messages = [
        Message("user" if i % 2 == 0 else "assistant", f"{i} <|im_end|> said") for i in range(3001)
    ]
    prompt = ChatPrompt(messages, template=CHATML)
    model.read = 0
    rendered = Prompter(model).render(prompt, NUM_CTX)
    assert model.read < sum(len(message.content) + 30 for message in messages) / 5
    tokens = Prompter(model).tokens(prompt, rendered, NUM_CTX).tokens
    assert NUM_CTX - 30 < len(tokens) <= NUM_CTX
    exactly = Prompter(model).tokens(prompt, Prompter(model).render(prompt, 10**6), None).tokens
    assert rendered.lost == pytest.approx(len(exactly) - len(tokens), rel=0.1)


def test_markup_is_tokenized_in_parts_that_make_the_same_tokens(model: Counting) -> None:
    marks = model.control_marks
    markup = "".join(f"<|im_start|>user\n {i}  <|im_en<|im_end|>\n" for i in range(2000))
    parts = marks.parts(markup, MARKUP_PIECE)
    assert "".join(parts) == markup
    assert len(parts) >= len(markup) // (2 * MARKUP_PIECE)
    assert model.tokenize_prompt(markup, special=True) == model.tokenize(markup, special=True)
    assert marks.parts("no markup " * 5000, MARKUP_PIECE) == ["no markup " * 5000]
