"""The OpenAPI document: valid, complete, true to the code, and no less than Ollama's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml
from api_client import Fetch
from jsonschema import Draft202012Validator
from openapi_documents import (
    Document,
    Schema,
    alternatives,
    contents,
    ollamas,
    operations,
    ours,
    resolve,
)
from schemathesis import openapi

from jupyter_ollama._version import OLLAMA_API_VERSION
from jupyter_ollama.api import wire
from jupyter_ollama.api.anthropic import wire as anthropic
from jupyter_ollama.api.endpoint import Endpoint
from jupyter_ollama.api.openai import wire as openai
from jupyter_ollama.api.rerank import RerankRequest
from jupyter_ollama.api.routes import ROUTES
from jupyter_ollama.api.score import ScoreRequest
from jupyter_ollama.api.tokens import DetokenizeRequest, TokenizeRequest
from jupyter_ollama.api.transfer import TransferRequest
from jupyter_ollama.api.web import WebFetchRequest, WebSearchRequest
from jupyter_ollama.library.create import CreateRequest
from jupyter_ollama.options import TYPES, merge_options

OURS = ours()
OLLAMAS = ollamas()

PARAMETERS = {
    "([^/]+)": "{digest}",
    "(.+?)": "{model}",
    "([A-Za-z0-9_.:-]+)": "{id}",
    r"\.": ".",
}
"""The document's names of the regular expressions in routes."""

BODIES: dict[str, type[msgspec.Struct]] = {
    "GenerateRequest": wire.GenerateRequest,
    "ChatRequest": wire.ChatRequest,
    "EmbedRequest": wire.EmbedRequest,
    "EmbeddingRequest": wire.EmbeddingRequest,
    "ShowRequest": wire.ShowRequest,
    "DeleteRequest": wire.DeleteRequest,
    "CopyRequest": wire.CopyRequest,
    "CreateRequest": CreateRequest,
    "TokenizeRequest": TokenizeRequest,
    "DetokenizeRequest": DetokenizeRequest,
    "ScoreRequest": ScoreRequest,
    "RerankRequest": RerankRequest,
    "WebFetchRequest": WebFetchRequest,
    "WebSearchRequest": WebSearchRequest,
    "PullRequest": TransferRequest,
    "PushRequest": TransferRequest,
    "ChatCompletionRequest": openai.ChatCompletionRequest,
    "CompletionRequest": openai.CompletionRequest,
    "EmbeddingsRequest": openai.EmbeddingsRequest,
    "ResponsesRequest": openai.ResponsesRequest,
    "TranscriptionRequest": openai.TranscriptionRequest,
    "BatchRequest": openai.BatchRequest,
    "Reasoning": openai.Reasoning,
    "StreamOptions": openai.StreamOptions,
    "MessagesRequest": anthropic.MessagesRequest,
    "CountRequest": anthropic.CountRequest,
}

NO_BODY = {"/api/delete"}
"""Answers with a body in Ollama's document, but not from its server."""


def calls(document: Document) -> set[tuple[str, str]]:
    return {(method, path) for method, path, _ in operations(document)}


def routes() -> dict[tuple[str, str], Endpoint]:
    found = {}
    for route in ROUTES:
        path = route.path or "/"
        for expression, name in PARAMETERS.items():
            path = path.replace(expression, name)
        found |= {(method, path): endpoint for method, endpoint in route.methods.items()}
    return found


def nodes(node: Any) -> Iterator[Any]:
    """Yield a value and all that is in it."""
    yield node
    for child in node.values() if isinstance(node, dict) else node if type(node) is list else ():
        yield from nodes(child)


def test_valid() -> None:
    openapi.from_dict(ours()).validate()
    for schema in OURS["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for node in nodes(OURS):
        if isinstance(node, dict) and "$ref" in node:
            assert resolve(OURS, node)


def test_no_text_was_cut_into_fields() -> None:
    """A comma in an unquoted text of a flow mapping begins a new field, whose value is null."""
    empty = [n for n in nodes(OURS) if isinstance(n, dict) and None in n.values()]
    assert empty == []


def test_operation_ids_are_unique_and_components_used() -> None:
    names = [operation["operationId"] for _, _, operation in operations(OURS)]
    assert len(names) == len(set(names))
    used = {node["$ref"] for node in nodes(OURS) if isinstance(node, dict) and "$ref" in node}
    components = {
        f"#/components/{kind}/{name}"
        for kind, found in OURS["components"].items()
        for name in found
        if kind != "securitySchemes"
    }
    assert used == components


def test_has_the_version_of_ollamas_api() -> None:
    assert OURS["info"]["version"] == OLLAMA_API_VERSION


def test_every_route_and_no_other() -> None:
    assert calls(OURS) == routes().keys()


def test_marks_requests_that_can_be_cancelled() -> None:
    for (method, path), endpoint in routes().items():
        item = OURS["paths"][path]
        reported = "499" in item[method.lower()]["responses"]
        assert reported == ("parameters" in item and path.count("{") == 0), path
        assert reported == endpoint.can_be_cancelled, path


@pytest.mark.parametrize("name", BODIES)
def test_requests_have_the_fields_that_are_read(name: str) -> None:
    read = {field.encode_name for field in msgspec.structs.fields(BODIES[name])}
    assert set(OURS["components"]["schemas"][name]["properties"]) == read


def test_options_have_the_types_and_defaults_that_are_read() -> None:
    options = OURS["components"]["schemas"]["ModelOptions"]["properties"]
    assert set(options) == set(TYPES)
    words = {"integer": "integer", "number": "float32", "boolean": "boolean", "string": "string"}
    defaults = merge_options()[0]
    for name, schema in options.items():
        if "type" in schema and schema["type"] != "object":
            assert words[schema["type"]] == TYPES[name], name
        if "default" in schema:
            assert getattr(defaults, name) == schema["default"], name


@pytest.mark.parametrize("name", sorted(set(BODIES) - {"Reasoning", "StreamOptions"}))
def test_defaults_of_requests(name: str) -> None:
    read = {f.encode_name: f.default for f in msgspec.structs.fields(BODIES[name])}
    for field, schema in OURS["components"]["schemas"][name]["properties"].items():
        if "default" in schema and name != "CreateRequest":
            assert read[field] in (schema["default"], None), field


async def test_is_served_as_json_and_yaml(either: Fetch) -> None:
    response = await either("GET", "/openapi.json")
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(response.body) == OURS
    response = await either("GET", "/openapi.yaml")
    assert response.headers["Content-Type"] == "application/yaml"
    assert yaml.safe_load(response.body) == OURS


@pytest.mark.parametrize(("method", "path"), sorted(calls(OLLAMAS)))
def test_covers_ollamas_document(method: str, path: str) -> None:
    asked = OLLAMAS["paths"][path][method.lower()]
    reported = OURS["paths"][path][method.lower()]
    assert reported["operationId"] == asked["operationId"]
    if "requestBody" in asked:
        for kind, schema in contents(OLLAMAS, asked["requestBody"]).items():
            assert_covers(contents(OURS, reported["requestBody"])[kind], schema)
    for status, answer in asked.get("responses", {}).items():
        assert status in reported["responses"]
        for kind, schema in contents(OLLAMAS, answer).items():
            if path not in NO_BODY:
                assert_covers(contents(OURS, reported["responses"][status])[kind], schema)


def test_has_the_schemas_of_ollamas_document() -> None:
    mine = OURS["components"]["schemas"]
    for name, schema in OLLAMAS["components"]["schemas"].items():
        assert_covers(mine[name], schema)


def assert_covers(ours: Schema, theirs: Schema, place: str = "") -> None:
    """Check that a schema of ours allows every type and names every field of one of Ollama's."""
    choices = list(alternatives(OURS, ours))
    for wanted in alternatives(OLLAMAS, theirs):
        fitting = [c for c in choices if "type" not in wanted or wanted["type"] in types(c)]
        assert fitting, f"{place} may be {wanted['type']}"
        for name, schema in wanted.get("properties", {}).items():
            found = [c["properties"][name] for c in fitting if name in c.get("properties", {})]
            assert found, f"{place}.{name} is missing"
            assert_covers({"anyOf": found}, schema, f"{place}.{name}")
        if "items" in wanted:
            items = [c["items"] for c in fitting if "items" in c]
            assert_covers({"anyOf": items}, wanted["items"], f"{place}[]")


def types(schema: Schema) -> list[str]:
    found = schema.get("type", [])
    return [found] if isinstance(found, str) else found
