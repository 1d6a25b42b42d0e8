"""Thinking that a budget of tokens ends, on a real model and by each parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runners import running

from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.protocol import ChatPrompt, Constraint
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.options import Options
from jupyter_ollama.parsing.harmony import HarmonyAnswer
from jupyter_ollama.parsing.parsers import PARSERS
from jupyter_ollama.parsing.tools import Tools
from jupyter_ollama.prompt.messages import Message

PROMPT = "{{ range .Messages }}{{ .Content }}\n{{ end }}<think>\n"
PARSER = "qwen3-thinking"
QUESTION = "Once upon a time there was a village by the sea."
BUDGET = 12


async def ask(runner: RunnerClient, budget: int | None, **wanted: Any) -> tuple[str, str, Done]:
    """Return the thinking, the text and the end of an answer of 40 tokens at most."""
    prompt = ChatPrompt(
        [Message("user", QUESTION)],
        template=PROMPT,
        parser=PARSER,
        think=True,
        thinking_budget=budget,
    )
    thinking = text = ""
    async for event in runner.generate(prompt, Options(temperature=0, num_predict=40), **wanted):
        if isinstance(event, Done):
            return thinking, text, event
        assert isinstance(event, Text)
        thinking += event.thinking
        text += event.text
    raise AssertionError("no Done")


async def tokens(runner: RunnerClient, text: str) -> int:
    return len((await runner.tokenize(text, special=False)).tokens)


async def test_thinking_ends_at_its_budget_and_the_answer_follows(smollm2_f16: Path) -> None:
    async with running(smollm2_f16) as runner:
        thinking, text, done = await ask(runner, BUDGET)
        free, nothing, _ = await ask(runner, None)
        assert await tokens(runner, thinking) <= BUDGET
        beyond, nothing_beyond, _ = await ask(runner, 500)
    assert free.startswith(thinking)
    assert not nothing, "without a budget this model thinks to the end"
    assert text.strip()
    assert "think>" not in text
    assert done.eval_count == 40
    assert (beyond, nothing_beyond) == (free, ""), "a budget that is not spent changes nothing"


async def test_the_tokens_of_the_closing_tag_count(smollm2_f16: Path) -> None:
    async with running(smollm2_f16) as runner:
        thinking, text, done = await ask(runner, BUDGET, logprobs=0)
        visible = await tokens(runner, thinking) + await tokens(runner, text)
    assert visible < done.eval_count


async def test_a_schema_applies_after_the_budget(smollm2_f16: Path) -> None:
    schema = Constraint(
        "schema", '{"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}'
    )
    async with running(smollm2_f16) as runner:
        thinking, text, _ = await ask(runner, BUDGET, constraint=schema)
        assert 0 < await tokens(runner, thinking) <= BUDGET
    assert json.loads(text)["n"] in (1, 2)


THINKING = {name: one.style for name, one in PARSERS.items() if one.style.thinking}
"""The styles whose thinking is between tags."""


def parsed(answer: Any, *texts: str) -> tuple[str, str]:
    pieces = [answer.feed(text) for text in texts] + [answer.finish()]
    return "".join(p.thinking for p in pieces), "".join(p.content for p in pieces)


@pytest.mark.parametrize("name", sorted(THINKING))
def test_the_closing_text_of_a_parser_ends_its_thinking(name: str) -> None:
    style = THINKING[name]
    for begin, _ in style.thinking:
        answer = style.answer(style, Tools([]), f"Question{begin}", think=True)
        answer.feed("I wonder")
        closing = answer.closing
        assert closing
        thinking, content = parsed(answer, closing, "Yes.")
        assert not answer.thinking
        assert (thinking.strip(), content.strip()) in {("", "Yes."), ("I wonder", "Yes.")}
        assert not answer.closing


def test_the_closing_text_of_harmony_begins_the_final_message() -> None:
    answer = HarmonyAnswer(Tools([]), "<|start|>assistant")
    answer.feed("<|channel|>analysis<|message|>I wonder")
    _, content = parsed(answer, answer.closing, "Yes.")
    assert content == "Yes."
    assert not answer.thinking
