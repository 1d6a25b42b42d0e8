"""GET /openapi.json and /openapi.yaml: every path of the API, described in OpenAPI 3.1."""

from __future__ import annotations

import asyncio
import copy
import functools
from pathlib import Path
from typing import Any

from .._version import OLLAMA_API_VERSION
from ..options import ABOUT, KV_CACHE_TYPES, MAX_DRY_BREAKERS, TYPES, LoadOptions, Options
from ..scheduler.limits import limit_schemas
from .endpoint import Call, Reply

YAML = "application/yaml"

_FOLDER = Path(__file__).with_name("specification")
_FAMILIES = ("ollama", "extensions", "web", "mcp", "openai", "anthropic")

_OPTION_TYPES: dict[str, dict[str, Any]] = {
    "integer": {"type": "integer"},
    "float32": {"type": "number"},
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "an array of strings": {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
    },
    "an array of numbers": {
        "anyOf": [
            {"type": "array", "items": {"type": "number", "minimum": 0}},
            {"type": "number", "exclusiveMinimum": 0},
        ]
    },
    "a map of token ids to numbers": {
        "type": "object",
        "propertyNames": {"pattern": "^[0-9]+$"},
        "additionalProperties": {"type": "number"},
    },
}


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
    whole["components"]["schemas"]["ModelOptions"]["properties"] = option_schemas()
    whole["info"] = {"version": OLLAMA_API_VERSION} | whole["info"]
    for part in map(_read, _FAMILIES):
        whole["paths"] |= part["paths"]
        for kind, components in part["components"].items():
            whole["components"].setdefault(kind, {}).update(components)
    whole["components"]["schemas"]["Limits"]["properties"] = limit_schemas()
    return whole


def option_schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each option, from the table in `jupyter_ollama.options`."""
    schemas = {}
    for name, about in ABOUT.items():
        schema = copy.deepcopy(_OPTION_TYPES[TYPES[name]])
        default = getattr(Options(), name)
        if default not in (None, "", (), [], {}):
            schema["default"] = default
        remarks = ["Extension."] * about.is_extension + [about.text] * bool(about.text)
        remarks += ["A load option."] * (name in LoadOptions.__struct_fields__)
        if remarks:
            schema["description"] = " ".join(remarks)
        schemas[name] = schema
    schemas["kv_cache_type"]["enum"] = list(KV_CACHE_TYPES)
    schemas["dry_sequence_breakers"]["anyOf"][1]["maxItems"] = MAX_DRY_BREAKERS
    return schemas


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
