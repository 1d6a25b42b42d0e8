"""Prompts that end within an answer: the model continues a last message of the assistant.

Few templates support that: most end the turn and begin another. Therefore a mark is appended to
the last message, and the prompt is cut where the template has written it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from .errors import TemplateError
from .messages import Message

MARK = "\ufdd1"
"""A noncharacter of Unicode, which templates copy like any other character."""

Render = Callable[[Sequence[Message], bool], str]
"""Renders messages; the flag is whether to append the beginning of an answer."""


def is_continued(messages: Sequence[Message]) -> bool:
    """Return whether the last message is an answer to continue, and not a tool call."""
    return bool(messages) and messages[-1].role == "assistant" and not messages[-1].tool_calls


def render_continued(render: Render, messages: Sequence[Message]) -> str:
    """Render a conversation up to the end of its last message, which the model continues.

    If the template refuses or omits such a message, its content follows the beginning of an answer
    to the preceding messages. Raises TemplateError if it refuses these, too.
    """
    *before, last = messages
    marked = msgspec.structs.replace(last, content=last.content + MARK)
    try:
        text, mark, _ = render([*before, marked], False).rpartition(MARK)
    except TemplateError:
        if not before:
            raise
        mark = ""
    return text if mark else render(before, True) + last.content
