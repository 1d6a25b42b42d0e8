"""The tags of thinking and of tool calls, inferred from a model's Go template.

Imports gotpl, which is slow: import this module only to use a template.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from gotpl.parse import ActionNode, IfNode, ListNode, RangeNode, TextNode, WithNode

from ..prompt.errors import TemplateError
from ..prompt.go_program import FUNCTIONS
from ..prompt.go_syntax import mentions, parse

BRANCHES = (IfNode, RangeNode, WithNode)


class GoTags(NamedTuple):
    """The inferred tags. ``thinking`` is () if the template has none."""

    thinking: tuple[str, str] | tuple[()]
    tool_call: str


@lru_cache(maxsize=64)
def go_tags(source: str) -> GoTags:
    """Infer the tags; a faulty template yields the defaults."""
    try:
        root = parse(source, FUNCTIONS).root
    except TemplateError:
        return GoTags((), "{")
    return GoTags(next(_thinking(root, False), ()), _tool_call(root))


def _thinking(nodes: ListNode, in_messages: bool) -> Iterator[tuple[str, str]]:
    """Find the texts around the action that prints .Thinking, in a range over .Messages."""
    texts = [node.text.strip() for node in nodes.nodes if isinstance(node, TextNode)]
    tagged = in_messages and len(texts) > 1 and texts[0] and texts[-1]
    for node in nodes.nodes:
        if tagged and isinstance(node, ActionNode) and mentions(node.pipeline, "Thinking"):
            yield texts[0], texts[-1]
        if isinstance(node, BRANCHES):
            ranges = isinstance(node, RangeNode)
            inside = mentions(node.pipeline, "Messages") if ranges else in_messages
            for body in _bodies(node):
                yield from _thinking(body, inside)


def _tool_call(root: ListNode) -> str:
    """Find the first text that depends on .ToolCalls, up to a brace."""
    for node in _branches(root):
        if isinstance(node, IfNode) and mentions(node.pipeline, "ToolCalls"):
            return _first_text(node.body).partition("{")[0].strip() or "{"
    return "{"


def _branches(nodes: ListNode) -> Iterator[Any]:
    for node in nodes.nodes:
        if isinstance(node, BRANCHES):
            yield node
            for body in _bodies(node):
                yield from _branches(body)


def _bodies(node: Any) -> list[ListNode]:
    return [body for body in (node.body, node.else_body) if body]


def _first_text(nodes: ListNode) -> str:
    """Return the leading text; text after a printed value does not count."""
    for node in nodes.nodes:
        if isinstance(node, TextNode) and node.text.strip():
            return str(node.text)
        if isinstance(node, BRANCHES):
            return next(filter(None, map(_first_text, _bodies(node))), "")
        if isinstance(node, ActionNode):
            break
    return ""
