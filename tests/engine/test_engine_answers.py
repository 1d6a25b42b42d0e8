"""Thinking, tool calls, probabilities and constraints, in answers that are known beforehand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from runners import running
from scripted_model import write_scripts

from jupyter_ollama.engine.events import Done, Text
from jupyter_ollama.engine.protocol import ChatPrompt, Constraint, RawPrompt, SuffixPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.options import Options
from jupyter_ollama.parsing.forced import calls_schema
from jupyter_ollama.prompt.messages import Message

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
                "required": ["city"],
            },
        },
    }
    for name in ("get_weather", "get_time")
]
SCRIPTS = {
    "plain": "Hello there, this is a plain answer.",
    "call": (
        "<think>\nI should ask for it.\n</think>\n\nLet me see."
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    ),
    "number": 'I know that.\n</think>\n\n{"answer": "forty-two"}',
}
SPECIAL = ("<think>", "</think>", "<tool_call>", "</tool_call>")
KNOWS = "{# tools <tool_call> <think> </think> #}"
"""Text of a template that handles tools and thinking."""


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scripts = dict(SCRIPTS)
    number = scripts.pop("number")
    path = tmp_path_factory.mktemp("scripted")
    write_scripts(
        path / "closed.gguf",
        {"number": number},
        special=("</think>",),
        template=KNOWS,
        begins_after="\n",
    )
    return write_scripts(path / "model.gguf", scripts, special=SPECIAL, template=KNOWS)


async def ask(
    runner: RunnerClient, text: str, prompt: dict[str, Any] | None = None, **wanted: Any
) -> tuple[Text, Done, list[Text]]:
    """Return an answer put together, its end, and the parts it came in."""
    asked = ChatPrompt([Message("user", text)], **(prompt or {}))
    parts: list[Text] = []
    answer = Text(0)
    options = Options(temperature=0, num_predict=80)
    async for event in runner.generate(asked, options, **wanted):
        if isinstance(event, Done):
            return answer, event, parts
        assert isinstance(event, Text)
        parts.append(event)
        answer.text += event.text
        answer.thinking += event.thinking
        answer.tool_calls += event.tool_calls
        answer.logprobs += event.logprobs
    raise AssertionError("no Done")


def called(answer: Text) -> list[tuple[str, dict[str, Any]]]:
    return [(call.function.name, call.function.arguments) for call in answer.tool_calls]


async def test_thinking_and_calls_are_distinguished(scripted: Path) -> None:
    async with running(scripted) as runner:
        prompt = {"tools": TOOLS, "think": True}
        answer, done, _ = await ask(runner, "call", prompt)
        whole, _, of_whole = await ask(runner, "call", prompt, stream=False)
        no_tools, _, _ = await ask(runner, "call", {"think": True})
        no_thinking, _, _ = await ask(runner, "call", {"tools": TOOLS, "think": False})
    assert answer.thinking == "I should ask for it."
    assert answer.text == "Let me see."
    assert called(answer) == [("get_weather", {"city": "Paris"})]
    assert done.reason == "stop"
    assert (len(of_whole), whole.thinking, called(whole)) == (1, answer.thinking, called(answer))
    assert no_tools.text == SCRIPTS["call"].partition("</think>\n\n")[2]
    assert no_thinking.text == SCRIPTS["call"].partition("<tool_call>")[0]


async def test_an_answer_without_a_parser_has_no_special_tokens(scripted: Path) -> None:
    async with running(scripted) as runner:
        plain, _, _ = await ask(runner, "plain")
        stripped, _, _ = await ask(runner, "call")
        raw = [
            event.text
            async for event in runner.generate(RawPrompt("<|plain|>"), Options(temperature=0))
            if isinstance(event, Text)
        ]
    assert plain.text == "".join(raw) == SCRIPTS["plain"]
    assert "<think>" not in stripped.text


async def test_every_token_has_its_probability(scripted: Path) -> None:
    async with running(scripted) as runner:
        answer, done, _ = await ask(runner, "plain", logprobs=3)
        bare, _, _ = await ask(runner, "plain", logprobs=0)
        none, _, _ = await ask(runner, "plain")
        thought, counted, _ = await ask(runner, "call", {"think": True}, logprobs=0)
    assert b"".join(one.piece for one in answer.logprobs) == SCRIPTS["plain"].encode()
    assert len(answer.logprobs) == done.eval_count - 1, "the end of the answer has no text"
    for one in answer.logprobs:
        assert one.logprob == pytest.approx(0, abs=1e-3)
        assert one.top[0].piece == one.piece
        assert len(one.top) == 3
        assert one.top[1].logprob < -20 < one.top[0].logprob <= 0
    assert [one.top for one in bare.logprobs] == [[]] * len(answer.logprobs)
    assert none.logprobs == []
    assert b"".join(one.piece for one in thought.logprobs) == SCRIPTS["call"].encode()
    assert len(thought.logprobs) == counted.eval_count - 1


async def test_probabilities_of_all_tokens_add_up(smollm2_f16: Path) -> None:
    async with running(smollm2_f16) as runner:
        options = Options(temperature=0, num_predict=3)
        asked = runner.generate(RawPrompt("The sky is"), options, logprobs=20, stream=False)
        (text,) = [event async for event in asked if isinstance(event, Text)]
        schema = Constraint("schema", '{"enum": ["zebra"]}')
        asked = runner.generate(RawPrompt("The sky is"), options, logprobs=0, constraint=schema)
        forced = [one async for event in asked if isinstance(event, Text) for one in event.logprobs]
    for one in text.logprobs:
        shares = [math.exp(other.logprob) for other in one.top]
        assert 0.3 < sum(shares) <= 1.0001
        assert shares == sorted(shares, reverse=True)
    assert forced[0].logprob < -1, "how likely a token is without the constraint"


async def test_a_format_holds_from_the_end_of_thinking_on(scripted: Path) -> None:
    schema = json.dumps({"type": "object", "properties": {"answer": {"enum": ["forty-two", "7"]}}})
    async with running(scripted.with_name("closed.gguf")) as runner:
        wanted = {"constraint": Constraint("schema", schema)}
        answer, _, _ = await ask(runner, "number", {"think": True}, **wanted)
        free, _, _ = await ask(runner, "number", {"think": False}, **wanted)
    assert answer.thinking == "I know that."
    assert json.loads(answer.text)["answer"] in ("forty-two", "7")
    assert free.thinking == ""
    assert json.loads(free.text)["answer"] in ("forty-two", "7")


async def test_a_format_waits_for_the_end_of_thinking_that_the_prompt_opens(scripted: Path) -> None:
    template = "{{ range .Messages }}<|{{ .Content }}|>{{ end }}<think>\n"
    prompt = {"think": False, "template": template, "parser": "olmo3-think"}
    schema = json.dumps({"type": "object", "properties": {"answer": {"enum": ["forty-two", "7"]}}})
    async with running(scripted.with_name("closed.gguf")) as runner:
        answer, _, _ = await ask(runner, "number", prompt, constraint=Constraint("schema", schema))
    assert answer.thinking == "I know that."
    assert json.loads(answer.text)["answer"] in ("forty-two", "7")


@pytest.mark.parametrize("name", [None, "get_time"])
async def test_a_call_can_be_required(scripted: Path, name: str | None) -> None:
    schema = Constraint("schema", json.dumps(calls_schema(TOOLS, name, parallel=False)))
    async with running(scripted) as runner:
        prompt = {"tools": TOOLS, "think": False}
        answer, done, _ = await ask(runner, "plain", prompt, constraint=schema, must_call=True)
    ((called_name, arguments),) = called(answer)
    assert called_name == (name or called_name)
    assert called_name in ("get_weather", "get_time")
    assert arguments["city"] in ("Paris", "Rome")
    assert (answer.text, done.reason) == ("", "stop")
    assert answer.tool_calls[0].id.startswith("call_")


async def test_a_gap_is_filled_by_the_tokens_for_it(tmp_path: Path) -> None:
    path = write_scripts(tmp_path / "infill.gguf", {"gap": "return a + b"}, infill=True)
    prompt = SuffixPrompt("def add(a, b):\n    ", "\n\nprint(add(1, 2))", None)
    async with running(path) as runner:
        rendered = await runner.render(prompt, 512)
        events = [event async for event in runner.generate(prompt, Options(temperature=0))]
    assert (
        rendered.text
        == "<|fim_before|>def add(a, b):\n    <|fim_after|>\n\nprint(add(1, 2))<|fim_gap|>"
    )
    assert "".join(event.text for event in events if isinstance(event, Text)) == "return a + b"
