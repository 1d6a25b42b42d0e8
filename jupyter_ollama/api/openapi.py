"""GET /openapi.json and /openapi.yaml: every path of the API, described in OpenAPI 3.1."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any

from .endpoint import Call, Reply

YAML = "application/yaml"

_FOLDER = Path(__file__).with_name("specification")
_FAMILIES = ("ollama", "extensions", "web", "openai", "anthropic")


async def as_json(call: Call) -> Reply:
    """Answer GET /openapi.json."""
    return Reply(await asyncio.to_thread(document))


async def as_yaml(call: Call) -> Reply:
    """Answer GET /openapi.yaml."""
    return Reply(await asyncio.to_thread(_yaml_text), content_type=YAML)


@functools.cache
def document() -> dict[str, Any]:
    """Return the document that the files of ``specification/`` make together."""
    whole = _read("document")
    for part in map(_read, _FAMILIES):
        whole["paths"] |= part["paths"]
        for kind, components in part["components"].items():
            whole["components"].setdefault(kind, {}).update(components)
    return whole


def _read(name: str) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]

    # The parser in C is six times as fast; not every build of PyYAML has it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.load(text, loader)
    return content


@functools.cache
def _yaml_text() -> bytes:
    import yaml

    text: bytes = yaml.safe_dump(document(), sort_keys=False, encoding="utf-8", width=100)
    return text
