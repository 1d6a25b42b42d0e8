"""The Jinja environment of chat templates: what Hugging Face gives them, and limits.

Templates come with models that nobody has read. The sandbox keeps them from Python; the limits keep
the usual runaways (nested loops, doubling texts, huge powers) from taking the process with them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from jinja2 import Template, nodes, pass_context
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_TEXT = 64 * 1024 * 1024
"""Characters of a prompt, or of any text joined on the way to it."""

MAX_ITERATIONS = 2_000_000
"""Turns of all the loops of one rendering together."""

MAX_BITS = 4096
"""Size of a whole number that a template may multiply up to."""

COUNTER = " iterations"
"""The variable that holds a rendering's LoopCounter; no template can spell its name."""


def bounded_join(parts: Iterable[Any]) -> str:
    """Join texts; raises OverflowError before the result gets too long."""
    texts = []
    size = 0
    for part in parts:
        texts.append(str(part))
        size += len(texts[-1])
        _check(size)
    return "".join(texts)


def _check(size: int) -> None:
    if size > MAX_TEXT:
        raise OverflowError(f"more than {MAX_TEXT} characters of text")


class LoopCounter:
    """Counts the turns of all loops of one rendering."""

    def __init__(self) -> None:
        self.turns = 0

    def count(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items; raises OverflowError when there were too many."""
        for item in items:
            self.turns += 1
            if self.turns > MAX_ITERATIONS:
                raise OverflowError(f"more than {MAX_ITERATIONS} turns of loops")
            yield item


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox for chat templates. Values passed to a template need COUNTER."""

    intercepted_binops = frozenset({"+", "*", "**"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", GenerationTag],
        )
        self.filters.update(tojson=_tojson, counted=_counted, joined=bounded_join)
        self.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)

    concat = staticmethod(bounded_join)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator unless its result would be huge; raises OverflowError."""
        if operator == "*" and isinstance(left, int) and not isinstance(right, int):
            left, right = right, left
        if isinstance(left, str | list | tuple):
            _check(len(left) * right if operator == "*" and isinstance(right, int) else len(left))
            _check(len(right) if isinstance(right, str | list | tuple) else 0)
        elif isinstance(left, int) and isinstance(right, int) and operator != "+":
            bits = left.bit_length()
            if (bits * right if operator == "**" else bits + right.bit_length()) > MAX_BITS:
                raise OverflowError("the number is too big")
        return super().call_binop(context, operator, left, right)

    def from_source(self, source: str) -> Template:
        """Compile a template with its loops counted and its joins bounded."""
        return self.from_string(_Limits().visit(self.parse(source)))


class _Limits(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = _filter(node.iter, "counted")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "joined")


def _filter(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class GenerationTag(Extension):
    """``{% generation %}``: marks a model's own text for training; here it is just its body."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Replace the tag by what it encloses."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    counter: LoopCounter = context[COUNTER]
    return counter.count(items)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes for HTML, which models were not trained on.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> None:
    raise JinjaError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)
