"""Names of models in the short form that users type."""

from __future__ import annotations

import re

_QUALIFIED = re.compile(
    r"\bregistry\.ollama\.ai/(?:library/)?([\w./-]+?)(?::latest\b|(?=:)|(?![\w./-]))"
)
"""A name in the full form of Ollama's servers."""

_PULLED = re.compile(r"[\w./-]+(?::[\w.-]+)?")


def tagged(name: str) -> str:
    """Return the name of a model with its tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def typed(text: str) -> str:
    """Return a text with the names of models in it shortened."""
    return _QUALIFIED.sub(r"\1", text)


def listed(names: list[str]) -> str:
    """Return the first twelve names, separated by commas, and the number of the others."""
    shown = ", ".join(name.removesuffix(":latest") for name in sorted(names)[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


def pull_command(name: str) -> str:
    """Return the command that pulls a model, "" if no registry can have the name."""
    return f"%ollama pull {name}" if _PULLED.fullmatch(name) else ""
