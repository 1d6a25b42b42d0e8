"""Two OpenAPI documents: Ollama's own, and the one of this server."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from jupyter_ollama.api.openapi import document

Schema = dict[str, Any]
Document = dict[str, Any]

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


def ours() -> Document:
    """Return a copy of the server's document."""
    return copy.deepcopy(document())


def ollamas() -> Document:
    """Return the document that Ollama's project publishes."""
    text = Path(__file__).with_name("ollama_openapi.yaml").read_text(encoding="utf-8")
    loaded: Document = yaml.safe_load(text)
    return loaded


def operations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (method, path, operation) of a document."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def resolve(document: Document, node: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a node, following references; keywords beside one count, too."""
    while reference := node.get("$ref"):
        found: Any = document
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]
        node = {name: value for name, value in node.items() if name != "$ref"} | found
    return node


def alternatives(document: Document, schema: Schema) -> Iterator[Schema]:
    """Yield the schemas without a choice that a schema is the choice of."""
    schema = resolve(document, schema)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices is None:
        yield schema
        return
    for choice in choices:
        yield from alternatives(document, choice)


def contents(document: Document, answer: dict[str, Any]) -> dict[str, Schema]:
    """Return the schemas of a request's or an answer's content types."""
    content = resolve(document, answer).get("content") or {}
    return {kind: media.get("schema", {}) for kind, media in content.items()}


def checkable(document: Document) -> Document:
    """Return a document for checks of whole answers.

    A stream of lines is an array there, and no login is required. Events are checked one by one.
    """
    document = copy.deepcopy(document)
    document.pop("security", None)
    for _, _, operation in operations(document):
        for answer in operation.get("responses", {}).values():
            media = answer.get("content", {}).get("application/x-ndjson")
            if media:
                media["schema"] = {"type": "array", "minItems": 1, "items": media["schema"]}
    return document


def closed(document: Document) -> Document:
    """Return a document whose answers may have no field that it does not name."""
    document = copy.deepcopy(document)
    seen: set[int] = set()

    def close(schema: Any) -> None:
        schema = _target(document, schema)
        if id(schema) in seen:
            return
        seen.add(id(schema))
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        children = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
        for child in [*children, schema["items"]] if "items" in schema else children:
            close(child)

    for _, _, operation in operations(document):
        for answer in operation["responses"].values():
            for schema in contents(document, answer).values():
                close(schema)
    return document


def _target(document: Document, schema: Schema) -> Schema:
    """Return the very schema that a reference names, for changes."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def with_errors(document: Document) -> Document:
    """Return Ollama's document with the parts it lacks: errors, and answers with no body."""
    document = copy.deepcopy(document)
    schema = {"$ref": "#/components/schemas/ErrorResponse"}
    error = {"description": "", "content": {"application/json": {"schema": schema}}}
    for _, _, operation in operations(document):
        operation.setdefault("responses", {"200": {"description": ""}})
        operation["responses"] |= {"400": error, "404": error}
    for path in ("/api/pull", "/api/push"):
        document["paths"][path]["post"]["responses"]["500"] = error
    document["paths"]["/api/delete"]["delete"]["responses"]["200"].pop("content")
    return document


def lines_of(text: str) -> list[Any]:
    """Return the parts of a stream that has one a line."""
    return [json.loads(line) for line in text.split("\n") if line]


def events_of(text: str) -> list[Any]:
    """Return the data of server-sent events, without the mark of the end."""
    data = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]
    return [json.loads(one) for one in data if one != "[DONE]"]
