"""What JupyterLab asks the kernel, by user expressions. Answers are JSON."""

from __future__ import annotations

from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import JSON

from . import scope, tables
from .tokens import estimate
from .variables import describe


def names() -> JSON:
    """Return the variables of the kernel, and lines about all names for completion."""
    found = _names()
    return JSON({"variables": scope.offers(found), "lines": scope.lines(found)})


def variable(name: str) -> JSON:
    """Return the description of a variable, or of a column such as "df.price"."""
    found = _names()
    name, _, column = name.partition(".")
    if name not in found:
        return JSON({"error": f"The kernel has no variable {name}."})
    value = found[name]
    if column:
        if not tables.is_frame(value) or column not in tables.column_names(value):
            return JSON({"error": f"{name} has no column {column}."})
        name, value = f"{name}.{column}", value[column]
    text = describe(name, value)
    return JSON({"text": text, "tokens": estimate(text)})


def _names() -> dict[str, Any]:
    shell: Any = get_ipython()
    return scope.user_names(shell.user_ns, shell.user_ns_hidden)
