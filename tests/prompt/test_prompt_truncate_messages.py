"""The messages that are kept when a conversation is too long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jupyter_ollama.prompt.errors import TemplateError
from jupyter_ollama.prompt.go_template import GoTemplate
from jupyter_ollama.prompt.jinja_template import JinjaTemplate
from jupyter_ollama.prompt.messages import Message
from jupyter_ollama.prompt.truncate_messages import fit_messages

TEMPLATE = GoTemplate("{{ range .Messages }}{{ .Role }} {{ .Content }}\n{{ end }}")


def count(text: str) -> int:
    """Count words, standing in for the tokens of a vocabulary."""
    return len(text.split())


def chat(length: int, system_at: Sequence[int] = ()) -> list[Message]:
    """Make messages of two words each: a role and a number."""
    return [
        Message(
            role="system" if i in system_at else "user" if i % 2 == 0 else "assistant",
            content=str(i),
        )
        for i in range(length)
    ]


def numbers(text: str) -> list[int]:
    """Return the messages in a prompt."""
    return [int(word) for word in text.split() if word.isdigit()]


def test_all_that_fits_stays() -> None:
    text, lost = fit_messages(chat(5), TEMPLATE.render, count, 10)
    assert (numbers(text), lost) == ([0, 1, 2, 3, 4], 0)


@pytest.mark.parametrize("num_ctx", range(1, 42))
def test_the_oldest_go_one_by_one(num_ctx: int) -> None:
    text, lost = fit_messages(chat(20), TEMPLATE.render, count, num_ctx)
    kept = min(20, max(1, num_ctx // 2))
    assert (numbers(text), lost) == (list(range(20 - kept, 20)), 2 * (20 - kept))


@pytest.mark.parametrize(
    ("num_ctx", "kept"),
    [
        (20, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (15, [0, 4, 5, 6, 7, 8, 9]),
        (8, [0, 4, 8, 9]),
        (1, [0, 4, 9]),
    ],
)
def test_system_messages_and_the_last_one_stay(num_ctx: int, kept: list[int]) -> None:
    messages = chat(10, system_at=[0, 4])
    text, lost = fit_messages(messages, TEMPLATE.render, count, num_ctx)
    assert (numbers(text), lost) == (kept, count(TEMPLATE.render(messages)) - count(text))


def test_few_renderings_are_tried() -> None:
    tried = []

    def render(messages: Sequence[Message]) -> str:
        tried.append(len(messages))
        return TEMPLATE.render(messages)

    _, lost = fit_messages(chat(1000), render, count, 100)
    assert lost == 2 * 950
    assert len(tried) <= 12


ALTERNATING = JinjaTemplate(
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}{{ m.role }} {{ m.content }}\n"
    "{% endfor %}"
)


@pytest.mark.parametrize("num_ctx", range(1, 42))
def test_parts_that_the_template_refuses_are_passed_over(num_ctx: int) -> None:
    text, lost = fit_messages(chat(21), ALTERNATING.render, count, num_ctx)
    kept = max(1, min(21, num_ctx // 2))
    kept -= 1 - kept % 2
    assert (numbers(text), lost) == (list(range(21 - kept, 21)), 2 * (21 - kept))


def test_when_only_the_whole_can_be_rendered_it_is_returned() -> None:
    def render(messages: Sequence[Message]) -> str:
        if len(messages) < 4:
            raise TemplateError("too few")
        return TEMPLATE.render(messages)

    text, lost = fit_messages(chat(4), render, count, 2)
    assert (numbers(text), lost) == ([0, 1, 2, 3], 0)


def test_a_conversation_that_the_template_refuses_is_an_error() -> None:
    with pytest.raises(TemplateError, match="Roles must alternate"):
        fit_messages(chat(3)[1:], ALTERNATING.render, count, 100)


@pytest.mark.parametrize("lengths", [[1, 1, 100], [300, 1], [2000, *[1] * 99]])
def test_the_parts_that_are_rendered_are_about_as_long_as_the_context(lengths: list[int]) -> None:
    messages = [
        Message("user", f"{i} " + "word " * (lengths[i % len(lengths)] - 1)) for i in range(3000)
    ]
    rendered = []

    def render(messages: Sequence[Message]) -> str:
        text = TEMPLATE.render(messages)
        rendered.append(count(text))
        return text

    num_ctx = 1000
    text, lost = fit_messages(messages, render, count, num_ctx)
    whole = rendered.pop(0)
    assert lost == whole - count(text)
    first = numbers(text)[0]
    assert count(text) <= num_ctx < count(TEMPLATE.render(messages[first - 1 :]))
    assert sum(rendered) < min(whole / 3, 20 * (num_ctx + max(lengths)))
    assert len(rendered) < 20


def test_tool_calls_that_may_not_come_first_are_skipped() -> None:
    template = JinjaTemplate(
        "{% for m in messages %}{% if loop.first and m.role != 'user' %}"
        "{{ raise_exception('the first message must be from a user') }}{% endif %}"
        "{{ m.role }} {{ m.content }}\n{% endfor %}"
    )
    roles = ["user", *["assistant", "tool"] * 100, "user", "assistant", "user"]
    messages = [Message(role, str(i)) for i, role in enumerate(roles)]
    text, _ = fit_messages(messages, template.render, count, 300)
    assert numbers(text) == [201, 202, 203]
