"""Cells that a kernel has run, with their outputs."""

from __future__ import annotations

from typing import Any

from .tokens import cut, estimate
from .variables import describe

CELL_TOKENS = 1500
OUTPUT_TOKENS = 500
NOTEBOOK_TOKENS = 3000


def sources(shell: Any) -> dict[int, str]:
    """Return the sources of the cells that this kernel has run, by their numbers."""
    manager = getattr(shell, "history_manager", None)
    raw: list[str] = list(getattr(manager, "input_hist_raw", []))
    return {number: cell for number, cell in enumerate(raw) if number and cell.strip()}


def cell(shell: Any, number: int) -> str | None:
    """Return a cell with its value, None if the kernel has not run it."""
    source = sources(shell).get(number)
    if source is None:
        return None
    parts = [f"In[{number}]:\n{cut(source.strip(), CELL_TOKENS)}"]
    values = shell.user_ns.get("Out")
    if type(values) is dict and number in values:
        parts.append(f"Out[{number}]:\n{describe('value', values[number], OUTPUT_TOKENS)}")
    return "\n\n".join(parts)


def notebook(shell: Any, tokens: int = NOTEBOOK_TOKENS) -> str:
    """Return the cells that the kernel has run, the last ones if they are too long."""
    kept: list[str] = []
    left = tokens
    found = sources(shell)
    for number in sorted(found, reverse=True):
        # The cell that asks is the last one.
        if number == shell.execution_count:
            continue
        text = f"In[{number}]:\n{cut(found[number].strip(), CELL_TOKENS)}"
        left -= estimate(text) + 2
        if left < 0:
            kept.append("… earlier cells")
            break
        kept.append(text)
    return "\n\n".join(reversed(kept))
