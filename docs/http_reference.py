"""Write the page of the HTTP API from its OpenAPI document: paths, bodies, examples, schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from jupyter_ollama.api.openapi import document

METHODS = ("get", "head", "post", "put", "delete")
FAMILIES = {
    "answers": "Answers",
    "models": "Models",
    "extensions": "Beyond Ollama",
    "openai": "OpenAI's API",
    "anthropic": "Anthropic's API",
}
"""The titles of known tags; others get their own name."""

Schema = dict[str, Any]


def page() -> Iterator[str]:
    """Yield the lines of the page."""
    spec = document()
    yield "# HTTP API\n"
    yield (
        "All paths are below `/ollama` of a Jupyter server, with its token: "
        "`Authorization: Bearer <token>`. `/openapi.json` of a server has the same document for "
        "programs.\n"
    )
    for family, operations in _by_family(spec).items():
        yield f"\n## {FAMILIES.get(family, family.capitalize())}\n"
        for method, path, operation in operations:
            yield from _operation(spec, method, path, operation)
    yield "\n## Schemas\n"
    for name, schema in sorted(spec["components"]["schemas"].items()):
        yield f"\n(schema-{name.lower()})=\n### {name}\n"
        yield from _described(schema)
        yield from _fields(schema)


def _by_family(spec: Schema) -> dict[str, list[tuple[str, str, Schema]]]:
    families: dict[str, list[tuple[str, str, Schema]]] = {}
    for path, item in spec["paths"].items():
        for method in METHODS:
            if method in item:
                tag = (item[method].get("tags") or ["other"])[0]
                families.setdefault(tag, []).append((method, path, item[method]))
    return families


def _operation(spec: Schema, method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"\n### {method.upper()} {path}\n"
    yield f"{operation.get('summary', '').rstrip('.')}.\n"
    yield from _described(operation)
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        schema = body.get("schema", {})
        yield f"\nBody (`{kind}`): {_type(schema)}\n"
        yield from _fields(_resolved(spec, schema))
        if "example" in body:
            text = json.dumps(body["example"], indent=2, ensure_ascii=False)
            yield f"\n```json\n{text}\n```"
    yield "\n| status | | content |\n|---|---|---|"
    for status, response in operation.get("responses", {}).items():
        whole = _resolved(spec, response)
        content = " or ".join(
            f"{_type(part.get('schema', {}))} (`{kind}`)"
            for kind, part in whole.get("content", {}).items()
        )
        yield f"| {status} | {_cell(whole.get('description', ''))} | {content} |"


def _resolved(spec: Schema, schema: Schema) -> Schema:
    """Follow a reference to a component."""
    while "$ref" in schema:
        _, _, kind, name = schema["$ref"].split("/")
        schema = spec["components"][kind][name]
    return schema


def _described(schema: Schema) -> Iterator[str]:
    if text := schema.get("description", "").strip():
        yield f"{text}\n"


def _fields(schema: Schema) -> Iterator[str]:
    """Yield the table of the fields of an object."""
    properties = schema.get("properties")
    if not properties:
        return
    required = set(schema.get("required", ()))
    yield "| field | type | |\n|---|---|---|"
    for name, field in properties.items():
        remarks = [_cell(field.get("description", ""))]
        if "default" in field:
            remarks.append(f"Default: `{json.dumps(field['default'])}`.")
        star = " (required)" if name in required else ""
        yield f"| `{name}`{star} | {_type(field)} | {' '.join(filter(None, remarks))} |"


def _type(schema: Schema) -> str:
    """Return the type of a schema in words, with links to named ones."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#schema-{name.lower()})"
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            kinds = [_type(one) for one in schema[word]]
            return (" and " if word == "allOf" else " or ").join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    kind = schema.get("type", "any")
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
