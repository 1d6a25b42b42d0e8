"""The names that code of a notebook can use, with their types and columns, but without values."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType, ModuleType
from typing import Any

from . import callables, tables, variables
from .static_types import full_type_name, is_class
from .tokens import cut, estimate

MOST_TOKENS = 400
TOKENS_OF_A_LINE = 120
"""One wide table shall leave tokens for other names."""
MOST_NAMES = 300
_SHELL_NAMES = ("In", "Out", "exit", "quit", "get_ipython", "open")


def user_names(namespace: Mapping[str, Any], hidden: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names that the user has made, the newest first.

    ``hidden`` are the names that IPython has made; the user may have replaced their values.
    """
    made = {
        name: value
        for name, value in list(namespace.items())
        if name[:1] != "_"
        and name not in _SHELL_NAMES
        and not (name in hidden and hidden[name] is value)
    }
    return dict(reversed(made.items()))


def lines(names: Mapping[str, Any], tokens: int = MOST_TOKENS, mark: str = "# ") -> list[str]:
    """Return lines about names, tables first, modules last, in at most ``tokens`` tokens.

    ``mark`` begins each line when it is sent, and is counted.
    """
    found: list[str] = []
    left = tokens
    for name, value in sorted(names.items(), key=_rank)[:MOST_NAMES]:
        line = cut(_line(name, value), TOKENS_OF_A_LINE)
        left -= estimate(mark + line) + 1
        if left < 0:
            break
        found.append(line)
    return found


def offers(names: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the name and a summary of each variable that a person can choose; no modules."""
    return [
        {"name": name, "summary": variables.summary(value)}
        for name, value in list(names.items())[:MOST_NAMES]
        if type(value) is not ModuleType
    ]


def _rank(item: tuple[str, Any]) -> int:
    value = item[1]
    if tables.library_of(value):
        return 0
    if type(value) is ModuleType:
        return 3
    return 1 if type(value) is FunctionType or is_class(value) else 2


def _line(name: str, value: Any) -> str:
    if tables.is_frame(value):
        columns = [f"{column}: {dtype}" for column, dtype in tables.column_types(value, 60)]
        total = value.shape[1]
        more = [f"… {total - len(columns)} more"] if total > len(columns) else []
        return f"{name}: DataFrame[{', '.join([*columns, *more])}]"
    if type(value) is FunctionType:
        return f"{name}{callables.signature(value)}"
    if type(value) is ModuleType:
        return f"{name}: module {callables.module_name(value)}"
    if is_class(value):
        return f"class {name}"
    return f"{name}: {variables.summary(value) or full_type_name(type(value))}"
