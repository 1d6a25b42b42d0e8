"""Tools in OpenAI's harmony format: their names in prompts and answers, and their definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

BUILT_IN = frozenset({"browser.open", "browser.search", "browser.find", "python"})
"""Tools that models were trained with under these names."""

_UNDERSCORES = str.maketrans(" -.", "___")


def harmony_names(names: Iterable[str]) -> dict[str, str]:
    """Return an identifier of TypeScript for each name of a tool, in their order.

    Blanks, hyphens and dots become underscores, other invalid characters are removed, and equal
    names are numbered from 2 on. These are Ollama's rules.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        identifier = name if name in BUILT_IN else _identifier(name)
        number = 2
        unique = identifier
        while unique in taken:
            unique = f"{identifier}_{number}"
            number += 1
        found[name] = unique
        taken.add(unique)
    return found


def harmony_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tool definitions whose names are identifiers, as the format requires."""
    names = harmony_names(filter(None, map(_name_of, tools)))
    return [
        {**tool, "function": {**tool["function"], "name": names[name]}}
        if (name := _name_of(tool))
        else dict(tool)
        for tool in tools
    ]


def _identifier(name: str) -> str:
    text = "".join(filter(_may_stand, name.translate(_UNDERSCORES))) or "unnamed"
    return "_" + text if text[0].isdecimal() else text


def _may_stand(character: str) -> bool:
    return character.isalpha() or character.isdecimal() or character in "_$"


def _name_of(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""
