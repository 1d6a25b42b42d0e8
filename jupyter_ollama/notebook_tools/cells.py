"""Cells and outputs as short texts for a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_TEXTS = ("text/markdown", "text/plain", "text/latex", "application/json")


def plain(text: str) -> str:
    """Return a text without the colors of a terminal."""
    return _ESCAPES.sub("", text)


def joined(value: Any) -> str:
    """Return a text of a notebook, which may be a list of lines."""
    return "".join(value) if isinstance(value, list) else str(value)


def output_text(output: Mapping[str, Any]) -> str:
    """Return an output as text; a picture by its type, an error by its last lines."""
    kind = output.get("output_type")
    if kind == "stream":
        return plain(joined(output.get("text", "")))
    if kind == "error":
        return plain(f"{output.get('ename', '')}: {output.get('evalue', '')}")
    data = output.get("data") or {}
    for media in _TEXTS:
        if media in data:
            return plain(joined(data[media]))
    return f"[{', '.join(data)}]" if data else ""


def outputs_text(outputs: Sequence[Mapping[str, Any]]) -> str:
    """Return all outputs of a cell as text."""
    return "\n".join(filter(None, map(output_text, outputs)))


def described(cell: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return number, id, type, source, and for code outputs and execution count."""
    fields = {
        "number": number,
        "id": str(cell.get("id", "")),
        "type": str(cell["cell_type"]),
        "source": joined(cell["source"]),
    }
    if cell["cell_type"] == "code":
        fields["execution_count"] = cell.get("execution_count")
        fields["outputs"] = outputs_text(cell.get("outputs") or [])
    return fields


def shortened(cells: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Return cells whose texts together have at most about ``most`` characters.

    Every cell stays, with its beginning: outputs are cut first, then sources.
    """
    for name, share in (("outputs", most // 3), ("source", most - most // 3)):
        texts = sorted(len(cell.get(name, "")) for cell in cells)
        longest = _longest(texts, share)
        for cell in cells:
            text = cell.get(name, "")
            if len(text) > longest:
                cell[name] = f"{text[:longest]}\n… (cut: {longest} of {len(text)})"
    return cells


def _longest(lengths: list[int], share: int) -> int:
    """Return the length to which the longest texts are cut so that all fit; ``lengths`` ascend."""
    left = share
    for position, length in enumerate(lengths):
        rest = len(lengths) - position
        if length * rest > left:
            return left // rest
        left -= length
    return lengths[-1] if lengths else share
