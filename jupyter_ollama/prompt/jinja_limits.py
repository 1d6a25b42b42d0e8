"""Limits on the texts, lists and numbers that one rendering of a chat template builds.

All of them count against the budget of the rendering (see ``budget``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .budget import current

MAX_PARTS = 2_000_000
"""The most values inside one value that is converted to text, compared or hashed."""

MAX_BITS = 4096
"""The largest size of an integer operand."""

ITEM = 8
"""The cost of a list item in characters, by memory."""

PIECE = 64
"""The least cost of a substring in characters."""

PARTS_IN_A_STEP = 8
"""Values that are visited in the time of one iteration of a loop."""

_LOOK_PARTS = 20_000
"""Values that are visited between two reads of the clock: some 3 ms."""

_LONG_TEXT = 4096
"""Characters of a text that is slow to compare."""

_CONTAINERS = (list, tuple, dict)
_CONVERSION = re.compile(r"%(?:\([^)]*\))?[-#0 +]*(\*|\d+)?(?:\.(\*|\d+))?")


def check_size(size: int) -> None:
    """Count a text of ``size`` characters; raises OverBudget if it is too long."""
    current().text(size)


def check_items(count: int) -> None:
    """Count a list of ``size`` items; raises OverBudget."""
    current().text(ITEM * count)


def check_weight(value: Any) -> None:
    """Raise OverflowError or OverBudget if the text of a value would be too long.

    Lists may contain the same list many times, so a small value can have a huge text, and
    comparing or hashing it would take as long.
    """
    if not isinstance(value, _CONTAINERS):
        return
    budget = current()
    stack, count, size = [value], 0, 0
    next_look = _LOOK_PARTS
    while stack:
        container = stack.pop()
        items = (
            (*container.keys(), *container.values()) if isinstance(container, dict) else container
        )
        count += len(items)
        budget.step(len(items) // PARTS_IN_A_STEP)
        if count >= next_look:
            next_look = count + _LOOK_PARTS
            budget.check_time()
        if count > MAX_PARTS:
            raise OverflowError(f"a value of more than {MAX_PARTS} parts")
        for item in items:
            if isinstance(item, _CONTAINERS):
                stack.append(item)
            elif isinstance(item, str | bytes):
                size += len(item)
        budget.check_text(size)


def weighed(value: Any) -> Any:
    """Return a value that may be compared and hashed. Raises OverflowError or OverBudget."""
    if type(value) is str:
        if len(value) > _LONG_TEXT:
            current().text(len(value))
    else:
        check_weight(value)
    return value


def text_of(value: Any) -> str:
    """Return a value as text; raises OverflowError if it is too long."""
    if type(value) is str:
        return value
    check_weight(value)
    return str(value)


def bounded_join(parts: Iterable[Any], separator: str = "") -> str:
    """Join texts; raises OverflowError before the result gets too long."""
    texts = []
    size = 0
    budget = current()
    for part in parts:
        text = part if type(part) is str else text_of(part)
        texts.append(text)
        budget.step()
        size += len(text) + len(separator)
        budget.check_text(size)
    budget.text(size)
    return separator.join(texts)


def check_replace(text: Any, old: Any, new: Any, count: int | None = -1) -> None:
    """Raise OverflowError if replacing ``old`` by ``new`` in a text makes it too long."""
    found = text.count(old)
    if count is not None and count >= 0:
        found = min(found, count)
    check_size(len(text) + found * max(0, len(new) - len(old)))


def check_percent(layout: str | bytes, values: Any) -> None:
    """Raise OverflowError if ``layout % values`` may be too long."""
    text = layout if isinstance(layout, str) else layout.decode("latin-1")
    if isinstance(values, Mapping):
        shown = list(values.values())
    else:
        shown = list(values) if isinstance(values, tuple) else [values]
    longest = max((len(text_of(value)) for value in shown), default=0)
    total = len(text)
    for conversion in _CONVERSION.finditer(text):
        total += longest
        for width in conversion.groups():
            if width == "*":
                total += max((value for value in shown if isinstance(value, int)), default=0)
            elif width:
                total += int(width[:12])
    check_size(total)


def check_binop(operator: str, left: Any, right: Any) -> None:
    """Raise OverflowError or OverBudget if the result of an operator would be huge."""
    current().step()
    if operator == "%":
        if isinstance(left, str | bytes):
            check_percent(left, right)
            return
    elif operator == "*" and isinstance(left, int) and not isinstance(right, int):
        left, right = right, left
    if isinstance(left, str | bytes | list | tuple):
        each = ITEM if isinstance(left, list | tuple) else 1
        if operator == "*":
            check_size(each * len(left) * right if isinstance(right, int) else 0)
            check_hash(left, right)
        else:
            check_size(each * (len(left) + (len(right) if hasattr(right, "__len__") else 0)))
    elif isinstance(left, int) and isinstance(right, int):
        bits = max(left.bit_length(), right.bit_length())
        if operator == "**":
            bits = left.bit_length() * abs(right)
        elif operator == "*":
            bits = left.bit_length() + right.bit_length()
        if bits > MAX_BITS:
            raise OverflowError("the number is too big")


def check_hash(value: Any, times: Any) -> None:
    """Raise OverflowError if a repeated tuple takes too long to hash."""
    if not isinstance(value, tuple) or not isinstance(times, int):
        return
    check_weight(value)
    if any(isinstance(item, tuple) for item in value) and times * len(value) > 1:
        raise OverflowError("tuples of tuples cannot be repeated")


def check_method(owner: Any, name: str, args: tuple[Any, ...]) -> None:
    """Raise OverflowError or OverBudget if a method of a text or list has a huge result."""
    if isinstance(owner, list):
        if name == "extend" and args and hasattr(args[0], "__len__"):
            check_items(len(owner) + len(args[0]))
        elif name in _LIST_COMPARISONS:
            check_weight(owner)
            check_weight(args[0] if args else None)
    elif isinstance(owner, str | bytes):
        if name in _PADDING and args and isinstance(args[0], int):
            check_size(max(args[0], len(owner)))
        elif name == "expandtabs":
            tab = "\t" if isinstance(owner, str) else b"\t"
            check_size(len(owner) + owner.count(tab) * _int(args, 8))  # type: ignore[arg-type]
        elif name == "replace" and len(args) > 1:
            check_replace(owner, *args[:3])
        elif name in _SPLITTING:
            check_split(owner, args)
        else:
            check_size(len(owner))


_PADDING = {"center", "ljust", "rjust", "zfill"}
_SPLITTING = {"split", "rsplit", "splitlines"}
_LIST_COMPARISONS = {"count", "index", "remove"}


def check_split(owner: str | bytes, args: tuple[Any, ...]) -> None:
    """Count the pieces of a split text."""
    text = owner if isinstance(owner, str) else owner.decode("latin-1")
    separator = args[0] if args and isinstance(args[0], str) else None
    pieces = text.count(separator) if separator else sum(map(text.count, "\n\r\t "))
    check_size(len(owner) + PIECE * (pieces + 1))


def _int(args: tuple[Any, ...], default: int) -> int:
    return args[0] if args and isinstance(args[0], int) else default


def counted(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items of a loop; raises OverBudget after too many."""
    step = current().step
    for item in items:
        step()
        yield item
