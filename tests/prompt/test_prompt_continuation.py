"""A last message of the assistant is left open, however the template ends a turn."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jupyter_ollama.prompt.continuation import is_continued, render_continued
from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.go_template import GoTemplate
from jupyter_ollama.prompt.jinja_template import JinjaTemplate
from jupyter_ollama.prompt.messages import Message, ToolCall, ToolCallFunction

ASK = Message("user", "Name a colour.")
BEGUN = Message("assistant", "The colour is ")
CHAT = [Message("system", "Be brief."), ASK, BEGUN]
BEFORE = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nName a colour.<|im_end|>\n"
OPEN = "<|im_start|>assistant\nThe colour is "

JINJA = {
    "closes": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "always begins an answer": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n"
    ),
    "knows of continuing": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% if not (loop.last and m.role == 'assistant') %}<|im_end|>\n{% endif %}{% endfor %}"
        "{% if messages[-1].role != 'assistant' %}<|im_start|>assistant\n{% endif %}"
    ),
    "refuses": (
        "{% if messages[-1].role != 'user' %}{{ raise_exception('The user must be last') }}"
        "{% endif %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "leaves out": (
        "{% for m in messages if m.role != 'assistant' %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "trims": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
}
GO = {
    "closes": (
        "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
        "<|im_start|>assistant\n"
    ),
    "knows of continuing": (
        "{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}"
        "<|im_start|>{{ .Role }}\n{{ .Content }}"
        '{{ if not (and $last (eq .Role "assistant")) }}<|im_end|>\n{{ end }}'
        '{{ if and $last (ne .Role "assistant") }}<|im_start|>assistant\n{{ end }}{{ end }}'
    ),
    "rounds": (
        "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}"
        "{{ if .Prompt }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n{{ end }}"
        "<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
    ),
}


def rendered(template: JinjaTemplate | GoTemplate, messages: Sequence[Message]) -> str:
    def render(messages: Sequence[Message], begin_answer: bool) -> str:
        if isinstance(template, JinjaTemplate):
            return template.render(messages, begin_answer=begin_answer)
        return template.render(messages)

    return render_continued(render, messages)


@pytest.mark.parametrize("name", JINJA)
def test_jinja(name: str) -> None:
    assert rendered(JinjaTemplate(JINJA[name]), CHAT) == BEFORE + OPEN


@pytest.mark.parametrize("name", GO)
def test_go(name: str) -> None:
    assert rendered(GoTemplate(GO[name]), CHAT) == BEFORE + OPEN


def test_an_answer_may_have_just_begun() -> None:
    chat = [*CHAT[:-1], Message("assistant")]
    expected = BEFORE + "<|im_start|>assistant\n"
    assert rendered(JinjaTemplate(JINJA["closes"]), chat) == expected
    assert rendered(GoTemplate(GO["closes"]), chat) == expected


def test_a_template_that_refuses_the_rest_too() -> None:
    with pytest.raises(TemplateError, match="The user must be last"):
        rendered(JinjaTemplate(JINJA["refuses"]), [Message("system", "Be brief."), BEGUN])
    with pytest.raises(TemplateError, match="The user must be last"):
        rendered(JinjaTemplate(JINJA["refuses"]), [BEGUN])


def test_messages_that_are_continued() -> None:
    assert is_continued(CHAT)
    assert not is_continued([])
    assert not is_continued([ASK])
    call = ToolCall(ToolCallFunction("colour"))
    assert not is_continued([ASK, Message("assistant", "Wait.", tool_calls=[call])])
