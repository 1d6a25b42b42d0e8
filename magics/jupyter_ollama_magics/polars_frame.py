"""Register ``.ollama`` on Polars: on Series, DataFrames, LazyFrames and expressions.

Polars is imported before; pandas and the operators are imported at the first use of ``.ollama``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import polars as pl


def _made_by(kind: str) -> Callable[[Any], Any]:
    """Return a function that makes the methods for a value of Polars."""

    def methods(data: Any) -> Any:
        return getattr(import_module(".in_polars.methods", __package__), kind)(data)

    return methods


_KINDS: tuple[tuple[Any, str], ...] = (
    (pl.api.register_series_namespace, "PolarsRows"),
    (pl.api.register_dataframe_namespace, "PolarsRows"),
    (pl.api.register_lazyframe_namespace, "LazyRows"),
    (pl.api.register_expr_namespace, "ExpressionRows"),
)

if "ollama" not in pl.Series._accessors:
    for register, kind in _KINDS:
        register("ollama")(_made_by(kind))
