"""Rendering a conversation with a template within a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .budget import FULL, Spending, spending
from .continuation import is_continued, render_continued
from .go_template import GoTemplate
from .jinja_template import JinjaTemplate
from .messages import Message
from .renderers.renderer import Renderer

Template = Renderer | GoTemplate | JinjaTemplate


def render_chat(
    template: Template,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]],
    think: bool | str | None,
    allowed: Spending = FULL,
) -> str:
    """Render a conversation. Renderers continue an answer themselves if their models can.

    Raises TemplateError, or OverBudget if the template exceeds ``allowed``.
    """

    def render(messages: Sequence[Message], begin_answer: bool) -> str:
        if isinstance(template, JinjaTemplate):
            return template.render(messages, tools, think, begin_answer=begin_answer)
        return template.render(messages, tools, think)

    with spending(allowed):
        if is_continued(messages) and not isinstance(template, Renderer):
            return render_continued(render, messages)
        return render(messages, True)
