"""Models that call tools by a script: the n-th answer to a task is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripted_model import write_scripts

SHORTEST = 24
"""The characters of a token of these scripts: long ones keep the models small."""
HEAD = "{# <tool_call> <think> </think> #}{% if tools %}{{ tools | length }} tools{% endif %}"
CHOICE = """\
{%% set ns = namespace(task='%(first)s', turn=0) %%}\
{%% for message in messages %%}\
{%% if message.role == 'user' %%}{%% set ns.turn = 0 %%}\
{%% for name in %(names)s %%}{%% if name in message.content %%}\
{%% set ns.task = name %%}{%% endif %%}{%% endfor %%}\
{%% elif message.role == 'assistant' %%}{%% set ns.turn = ns.turn + 1 %%}{%% endif %%}\
{%% endfor %%}<|{{ ns.task }}.{{ [ns.turn, %(lasts)s[ns.task]] | min }}|>"""
"""Ends a prompt with the token of a task and of the number of answers since the question."""

Answer = str | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""A text, or the calls of tools: {"say": text, "tool": name, …arguments}."""


def write_agent(path: Path, tasks: Mapping[str, Sequence[Answer]]) -> Path:
    """Write a GGUF whose answers to a question that names a task are those of the task in turn."""
    scripts = {
        f"{name}.{turn}": text_of(answer)
        for name, answers in tasks.items()
        for turn, answer in enumerate(answers)
    }
    lasts = {name: len(answers) - 1 for name, answers in tasks.items()}
    choice = CHOICE % {"first": next(iter(tasks)), "names": [*tasks], "lasts": lasts}
    return write_scripts(path, scripts, template=HEAD, choice=choice, shortest=SHORTEST)


def text_of(answer: Answer) -> str:
    """Return an answer as a model writes it."""
    if isinstance(answer, str):
        return answer
    calls = [answer] if isinstance(answer, Mapping) else answer
    return "\n".join(map(_call, calls))


def _call(call: Mapping[str, Any]) -> str:
    arguments = {name: value for name, value in call.items() if name not in ("say", "tool")}
    body = json.dumps({"name": call["tool"], "arguments": arguments})
    return f"{call.get('say', '')}<tool_call>\n{body}\n</tool_call>"
