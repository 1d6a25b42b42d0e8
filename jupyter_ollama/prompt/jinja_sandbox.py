"""The Jinja environment of chat templates: the extensions of Hugging Face, and limits.

Templates of models are untrusted. The sandbox isolates them from Python; the limits stop nested
loops, doubling texts and huge powers before they exhaust the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import update_wrapper
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError as JinjaError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.tests import TESTS
from jinja2.visitor import NodeTransformer

from .budget import COMPILING, check_source, current, spending
from .jinja_filters import CHAT_FILTERS
from .jinja_limits import (
    bounded_join,
    check_binop,
    check_items,
    check_method,
    check_size,
    check_weight,
    counted,
    text_of,
    weighed,
)
from .jinja_values import Absent, Arguments, Functions, GivenList, is_none

__all__ = ["ChatEnvironment", "bounded_join"]

_CHANGES = {"append", "extend", "insert", "pop"}
"""Methods that a template may call on its own lists."""

_HASHING = {"get", "fromkeys", "setdefault"}
"""Methods of dictionaries that hash a key, which may be a tuple of tuples."""

_DICT_ATTRIBUTES = frozenset(dir(dict))

_UNBOUNDED = {"translate", "maketrans", "to_bytes", "from_bytes", "encode", "decode"}
"""Methods of texts and numbers that chat templates do not need and whose result or time is
unbounded."""

MAX_LAYOUT = 1000
"""The most characters of a date format."""

_COMPARISONS = ("eq", "==", "equalto", "ne", "!=", "lt", "<", "lessthan", "gt", ">", "greaterthan",
                "le", "<=", "ge", ">=", "in")  # fmt: skip
"""Tests that compare two values in depth."""


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """The sandbox for chat templates. Renderings count against `budget.current`."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", GenerationTag],
            finalize=text_of,
        )
        self.filters.update(
            CHAT_FILTERS, counted=counted, joined=bounded_join, sliced=_sliced, weighed=weighed
        )
        self.tests.update(none=is_none, iterable=_is("iterable"), sequence=_is("sequence"))
        self.tests.update({name: _compared(name) for name in _COMPARISONS})
        self.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        del self.globals["lipsum"]

    concat = staticmethod(bounded_join)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Apply an operator unless its result would be huge; raises OverflowError."""
        if operator == "+":
            if type(left) is str and type(right) is str:
                budget = current()
                budget.step()
                budget.text(len(left) + len(right))
                return left + right
            if isinstance(left, Arguments | Functions) and isinstance(right, str):
                left = text_of(left)
            elif isinstance(right, Arguments | Functions) and isinstance(left, str):
                right = text_of(right)
        check_binop(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function unless its result would be huge; raises OverflowError."""
        current().step()
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str | bytes | list):
            if name == "join" and isinstance(owner, str) and len(args) == 1:
                return bounded_join(_texts(args[0]), owner)
            if name == "extend" and len(args) == 1:
                args = (list(counted(args[0])),)
            check_method(owner, name, args)
        elif __obj is dict or name in _HASHING or isinstance(owner, LoopContext):
            for value in args:
                check_weight(value)
        return super().call(__context, __obj, *args, **kwargs)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an attribute, else an item; fields of messages take a short path."""
        if type(obj) is dict and attribute in obj and attribute not in _DICT_ATTRIBUTES:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Return whether a template may use an attribute."""
        if attr in _CHANGES and isinstance(obj, list):
            return not isinstance(obj, GivenList)
        return attr not in _UNBOUNDED and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return a bounded ``str.format`` or ``str.format_map`` for one of Python's."""
        if super().wrap_str_format(value) is None:
            return None
        text, takes_mapping = str(value.__self__), value.__name__ == "format_map"

        def wrapper(*args: Any, **kwargs: Any) -> str:
            if takes_mapping:
                (mapping,) = args
                args, kwargs = (), mapping
            return str(_BoundedFormatter(self).vformat(text, args, kwargs))

        return update_wrapper(wrapper, value)

    def from_source(self, source: str) -> Template:
        """Compile a template with its loops counted and its joins bounded.

        Raises TemplateError for a template that is too long, and the errors of Jinja.
        """
        check_source(source)
        with spending(COMPILING):
            return self.from_string(_Limits().visit(self.parse(source)))


class _BoundedFormatter(SandboxedFormatter):
    def __init__(self, env: ChatEnvironment) -> None:
        super().__init__(env)
        self._size = 0

    def format_field(self, value: Any, format_spec: str) -> str:
        for width in "".join(c if c.isdigit() else " " for c in format_spec).split():
            check_size(int(width[:12]))
        text = str(super().format_field(text_of(value) if not format_spec else value, format_spec))
        self._size += len(text)
        check_size(self._size)
        return text

    def convert_field(self, value: Any, conversion: Any) -> Any:
        if conversion:
            check_weight(value)
        return super().convert_field(value, conversion)

    def vformat(self, format_string: str, args: Any, kwargs: Mapping[str, Any]) -> str:
        return str(super().vformat(format_string, args, kwargs))


class _Limits(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = _filter(node.iter, "counted")
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        self.generic_visit(node)
        node.expr = _weighed(node.expr)
        for operand in node.ops:
            operand.expr = _weighed(operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> Any:
        self.generic_visit(node)
        return _filter(node, "sliced") if isinstance(node.arg, nodes.Slice) else node

    def visit_Tuple(self, node: nodes.Tuple) -> Any:
        self.generic_visit(node)
        return _filter(node, "weighed") if node.ctx == "load" and node.items else node

    def visit_Dict(self, node: nodes.Dict) -> Any:
        self.generic_visit(node)
        return _filter(node, "weighed") if node.items else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes, lineno=node.lineno), "joined")


def _weighed(node: Any) -> Any:
    return node if isinstance(node, nodes.Const) else _filter(node, "weighed")


def _filter(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class GenerationTag(Extension):
    """``{% generation %}``, which marks text of the model for training; only its body is kept."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Replace the tag by its body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _is(test: str) -> Callable[[Any], bool]:
    jinja_test: Callable[[Any], bool] = TESTS[test]  # type: ignore[assignment]
    return lambda value: not isinstance(value, Absent) and jinja_test(value)


def _compared(test: str) -> Callable[..., bool]:
    jinja_test: Callable[..., bool] = TESTS[test]  # type: ignore[assignment]

    def compared(value: Any, other: Any) -> bool:
        check_weight(value)
        check_weight(other)
        return jinja_test(value, other)

    return compared


def _sliced(part: Any) -> Any:
    """Count a slice of a text or list."""
    if isinstance(part, str | bytes):
        check_size(len(part))
    elif isinstance(part, list | tuple):
        check_items(len(part))
    return part


def _texts(items: Iterable[Any]) -> Iterator[str]:
    for item in items:
        if not isinstance(item, str):
            raise TypeError(f"join: expected a text, found {type(item).__name__}")
        yield item


def _raise_exception(message: str) -> None:
    raise JinjaError(message)


def _strftime_now(layout: str) -> str:
    if len(layout) > MAX_LAYOUT:
        raise OverflowError(f"strftime_now: more than {MAX_LAYOUT} characters")
    return datetime.now().strftime(layout)
