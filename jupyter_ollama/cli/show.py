"""`jupyter ollama show`: a model's facts, or one of its parts unchanged."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from .command import CommandError, say
from .connection import ClientCommand
from .formats import parameter_count

PARTS = ("modelfile", "parameters", "template", "system", "license")
LICENSE_LINES = 2


class ShowCommand(ClientCommand):
    """jupyter ollama show"""

    name = "jupyter-ollama-show"
    verb = "show"
    description = "Show the description of a model, or with an option only that part of it."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Take a name and at most one part."""
        parser.add_argument("model", metavar="MODEL")
        for part in PARTS:
            parser.add_argument(
                f"--{part}",
                dest="parts",
                action="append_const",
                const=part,
                help=f"print the {part} and nothing else",
            )

    def run(self, arguments: argparse.Namespace) -> None:
        """Print."""
        parts = arguments.parts or []
        if len(parts) > 1:
            raise CommandError("only one of " + ", ".join(f"--{part}" for part in parts))
        facts = self.client.show(arguments.model)
        if parts:
            say(facts.get(parts[0], ""))
        else:
            say(summary(facts))


def summary(facts: dict[str, Any]) -> str:
    """Return the answer of /api/show as sections of two columns."""
    sections = [
        section("Model", model_rows(facts)),
        section("Projector", projector_rows(facts)),
        section("Capabilities", [(name,) for name in facts.get("capabilities") or []]),
        section("Parameters", parameter_rows(facts.get("parameters", ""))),
        section("System", [(line,) for line in facts.get("system", "").splitlines()]),
        section("License", license_rows(facts.get("license", ""))),
    ]
    return "\n\n".join(text for text in sections if text)


def section(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a title with its rows below it, or nothing if there are none."""
    if not rows:
        return ""
    width = max(len(row[0]) for row in rows)
    lines = ["    ".join([row[0].ljust(width), *row[1:]]).rstrip() for row in rows]
    return "\n".join([f"  {title}", *(f"    {line}" for line in lines)])


def model_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return architecture, size, context and so on, as far as the server reports them."""
    details, info = facts.get("details") or {}, facts.get("model_info") or {}
    family = info.get("general.architecture") or details.get("family", "")
    count = info.get("general.parameter_count")
    rows = [
        ("architecture", family),
        ("parameters", parameter_count(count) if count else details.get("parameter_size", "")),
        ("context length", info.get(f"{family}.context_length")),
        ("embedding length", info.get(f"{family}.embedding_length")),
        ("quantization", details.get("quantization_level", "")),
        ("requires", facts.get("requires")),
    ]
    return [(name, str(value)) for name, value in rows if value]


def projector_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the facts about a model's projectors."""
    info = facts.get("projector_info") or {}
    kind = info.get("general.architecture", "")

    def of_tower(key: str) -> Any:
        return info.get(f"{kind}.vision.{key}") or info.get(f"{kind}.audio.{key}")

    rows = [
        ("architecture", kind),
        ("embedding length", of_tower("embedding_length")),
        ("dimensions", of_tower("projection_dim")),
    ]
    return [(name, str(value)) for name, value in rows if value]


def parameter_rows(text: str) -> list[tuple[str, ...]]:
    """Split the lines ``name   value`` of the parameters."""
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def license_rows(text: str) -> list[tuple[str]]:
    """Return the first lines of the licence, with a mark if there are more."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    more = [("...",)] if len(lines) > LICENSE_LINES else []
    return [(line,) for line in lines[:LICENSE_LINES]] + more
