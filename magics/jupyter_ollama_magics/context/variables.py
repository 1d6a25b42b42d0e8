"""The description of a variable."""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import Any

from . import callables, tables
from .literals import literal
from .static_types import attribute_names, full_type_name, is_class, type_name
from .tokens import cut

MOST_TOKENS = 1000
_CONTAINERS = (list, tuple, set, frozenset, dict)


def describe(name: str, value: Any, tokens: int = MOST_TOKENS) -> str:
    """Return what a model needs to know of a variable, in at most ``tokens`` tokens.

    Of a value of an unknown type it is the name of the type and the names of the attributes. No
    method, property or ``__repr__`` of the user runs.
    """
    return cut(f"{name}: {_described(name, value, tokens - 10)}", tokens)


def _described(name: str, value: Any, tokens: int) -> str:
    kind = type(value)
    if tables.library_of(value):
        return tables.describe(value, tokens)
    if kind is FunctionType:
        return callables.describe_function(name, value)
    if kind is ModuleType:
        return callables.describe_module(value)
    if is_class(value):
        return callables.describe_class(value)
    if any(kind is one for one in _CONTAINERS):
        return f"{kind.__name__} of {len(value):,}: {literal(value, 200, 3)}"
    if kind is str:
        return f"str of {len(value):,} characters: {literal(value, 4 * tokens)}"
    shown = literal(value, 4 * tokens)
    if shown != f"<{type_name(kind)}>":
        return f"{type_name(kind)}: {shown}"
    return full_type_name(kind) + callables.names_line("attributes", attribute_names(value))


def summary(value: Any) -> str:
    """Return the type and the size of a value in a few words, without its content."""
    kind = type(value)
    own = type_name(kind)
    library = tables.library_of(value)
    if library and own == "Series":
        return f"Series {tables.describe_dtype(value.dtype)}, {len(value):,}"
    if library == "numpy":
        shape = " x ".join(f"{size:,}" for size in value.shape)
        return f"array {tables.describe_dtype(value.dtype)}, {shape}"
    if library:
        rows, columns = value.shape
        return f"DataFrame, {rows:,} x {columns:,}"
    if kind is FunctionType:
        return f"function {callables.signature(value)}"[:60]
    if kind is ModuleType:
        return f"module {callables.module_name(value)}"
    if is_class(value):
        return "class"
    if any(kind is one for one in (*_CONTAINERS, str, bytes)):
        return f"{own}, {len(value):,}"
    return own
