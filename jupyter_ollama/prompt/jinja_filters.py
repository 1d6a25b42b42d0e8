"""The filters of chat templates that differ from Jinja's own: without escapes, and bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import wraps
from html import escape
from typing import Any

from jinja2 import Undefined, pass_environment
from jinja2.environment import Environment
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.filters import make_attrgetter

from .budget import OverBudget, current
from .control_marks import GUARD
from .jinja_limits import (
    MAX_BITS,
    PARTS_IN_A_STEP,
    bounded_join,
    check_binop,
    check_items,
    check_percent,
    check_replace,
    check_size,
    check_weight,
    counted,
    text_of,
)
from .jinja_values import Absent

MAX_COLUMNS = 1000
"""The largest indentation, and the longest separator of JSON."""

MAX_PARTS = 100_000
"""The most parts of a split list; the same limit as for the numbers of a range."""

MAX_SCANNED = 2**17
"""The most characters for filters that use regular expressions or go word by word."""

MAX_DIGITS = MAX_BITS // 4
"""The most characters of a text that is converted to a number."""

_GUARD_ESCAPE = json.dumps(GUARD)[1:-1]
_ESCAPES = re.compile(r"(?:\\ufdd0){1,2}|\\.")


def to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON without Jinja's escapes for HTML, which models were not trained on."""
    for width in (indent, *(separators or ())):
        if (len(width) if isinstance(width, str) else width or 0) > MAX_COLUMNS:
            raise OverflowError("tojson: too wide")
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_listed,
    )
    check_weight(value)
    text = encoder.encode(value) if indent is None else bounded_join(encoder.iterencode(value))
    return _ESCAPES.sub(_unescaped_guard, text) if ensure_ascii else text


def _unescaped_guard(found: re.Match[str]) -> str:
    """Return a guard for its JSON escape; two escapes encode the character itself."""
    if found[0] == _GUARD_ESCAPE:
        return GUARD
    return _GUARD_ESCAPE if found[0] == 2 * _GUARD_ESCAPE else found[0]


def _listed(value: Any) -> list[Any] | None:
    """Return the items that filters such as ``map`` produce as a list."""
    if isinstance(value, Absent):
        return None
    if isinstance(value, Undefined) or not isinstance(value, Iterable):
        raise TypeError(f"{type(value).__name__} is not JSON serializable")
    items = list(value)
    check_weight(items)
    return items


def _escape(value: Any) -> str:
    # Jinja returns Markup, which escapes every text that is later concatenated with it.
    return escape(text_of(value)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def _format(layout: Any, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise TypeError("format takes positional or keyword arguments, not both")
    layout = text_of(layout)
    check_percent(layout, kwargs or args)
    return str(layout % (kwargs or args))


@pass_environment
def _join(
    environment: Environment,
    items: Iterable[Any],
    d: str = "",
    attribute: str | int | None = None,
) -> str:
    if attribute is not None:
        items = map(make_attrgetter(environment, attribute), items)
    return bounded_join(items, text_of(d))


@pass_environment
def _sum(
    environment: Environment,
    iterable: Iterable[Any],
    attribute: str | int | None = None,
    start: Any = 0,
) -> Any:
    if attribute is not None:
        iterable = map(make_attrgetter(environment, attribute), iterable)
    total = start
    for item in iterable:
        check_binop("+", total, item)
        total = total + item
    return total


def _bounded(name: str, check: Callable[..., None]) -> Callable[..., Any]:
    """Return a filter of Jinja's whose arguments are checked before it runs."""
    jinja_filter = JINJA_FILTERS[name]
    first = int(hasattr(jinja_filter, "jinja_pass_arg"))

    @wraps(jinja_filter)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        for value in (*args[first:], *kwargs.values()):
            check_weight(value)
        check(*args[first:], **kwargs)
        return jinja_filter(*args, **kwargs)

    return bounded


def _counted(jinja_filter: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that counts its input and its result."""
    first = int(hasattr(jinja_filter, "jinja_pass_arg"))

    @wraps(jinja_filter)
    def counting(*args: Any, **kwargs: Any) -> Any:
        budget = current()
        value = args[first] if len(args) > first else None
        budget.step(1 + _size(value) // PARTS_IN_A_STEP)
        found = jinja_filter(*args, **kwargs)
        if type(found) is str:
            budget.text(len(found))
        elif type(found) is list:
            check_items(len(found))
        return found

    return counting


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | tuple | dict | range) else 0


def _listing(name: str) -> Callable[..., Any]:
    """Return a filter of Jinja's that iterates over all items and compares them."""
    jinja_filter = JINJA_FILTERS[name]
    first = int(hasattr(jinja_filter, "jinja_pass_arg"))

    @wraps(jinja_filter)
    def listing(*args: Any, **kwargs: Any) -> Any:
        items = args[first]
        if not isinstance(items, str | dict | Undefined):
            items = list(counted(items))
        check_weight(items)
        return jinja_filter(*args[:first], items, *args[first + 1 :], **kwargs)

    return listing


def _any(*_args: Any, **_kwargs: Any) -> None:
    """Accept all arguments: the result is at most a few times as long as the text."""


def _check_center(_value: Any, width: int = 80) -> None:
    check_size(width)


def _check_scanned(value: Any = "", *_args: Any, **_kwargs: Any) -> None:
    """Refuse a long text for a slow filter."""
    if len(text_of(value)) > MAX_SCANNED:
        raise OverBudget(f"more than {MAX_SCANNED} characters of text to look through")


def _check_number(value: Any, *_args: Any, **_kwargs: Any) -> None:
    if isinstance(value, str | bytes) and len(value) > MAX_DIGITS:
        raise OverflowError("the number is too big")


def _check_size_format(value: Any, binary: bool = False) -> None:
    _check_number(value)


def _check_indent(s: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> None:
    columns = len(width) if isinstance(width, str) else width
    text = str(s)
    check_size(len(text) + (len(text.splitlines()) + 1) * columns)


def _check_replace(s: Any, old: Any, new: Any, count: int | None = None) -> None:
    check_replace(str(s), str(old), str(new), count)


def _check_wordwrap(
    s: Any,
    width: int = 79,
    break_long_words: bool = True,
    wrapstring: str | None = None,
    break_on_hyphens: bool = True,
) -> None:
    _check_scanned(s)
    check_size(len(str(s)) * (1 + len(wrapstring or "\n")) if len(wrapstring or "") > 1 else 0)


def _check_parts(_value: Any, count: int, fill_with: Any = None) -> None:
    if count > MAX_PARTS:
        raise OverflowError(f"more than {MAX_PARTS} parts")


def _check_batch(value: Any, linecount: int, fill_with: Any = None) -> None:
    _check_parts(value, linecount)


def _check_slice(value: Any, slices: int, fill_with: Any = None) -> None:
    _check_parts(value, slices)


def _check_round(_value: Any, precision: int = 0, method: str = "common") -> None:
    if abs(precision) > MAX_COLUMNS:
        raise OverflowError("round: too precise")


_TEXT_FILTERS = ("capitalize", "lower", "string", "trim", "truncate", "upper")
_SCANNING = ("pprint", "striptags", "title", "urlencode", "urlize", "wordcount", "xmlattr")
_LISTING = ("dictsort", "groupby", "items", "list", "max", "min", "reverse", "sort", "unique")

_CHECKS: dict[str, Callable[..., None]] = {
    "center": _check_center,
    "indent": _check_indent,
    "replace": _check_replace,
    "wordwrap": _check_wordwrap,
    "batch": _check_batch,
    "slice": _check_slice,
    "round": _check_round,
    "int": _check_number,
    "float": _check_number,
    "filesizeformat": _check_size_format,
    **dict.fromkeys(_SCANNING, _check_scanned),
    **dict.fromkeys(_TEXT_FILTERS, _any),
}

_FILTERS: dict[str, Callable[..., Any]] = {
    **JINJA_FILTERS,
    "tojson": to_json,
    "safe": text_of,  # texts are not HTML, so none needs escapes
    "e": _escape,
    "escape": _escape,
    "forceescape": _escape,
    "format": _format,
    "join": _join,
    "sum": _sum,
    **{name: _bounded(name, check) for name, check in _CHECKS.items()},
    **{name: _listing(name) for name in _LISTING},
}

CHAT_FILTERS = {name: _counted(one) for name, one in _FILTERS.items()}
"""All filters of chat templates. Their inputs and results are counted."""
