"""A real server held to two OpenAPI documents: its own and Ollama's.

Its own is closed to what it does not name. Requests are the documents' examples, and those that
schemathesis generates from the schemas.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import tiny_vision
from cli_process import serving
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from openapi_documents import (
    Document,
    checkable,
    closed,
    contents,
    events_of,
    lines_of,
    ollamas,
    operations,
    ours,
    with_errors,
)
from peers import docker_registry
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from store_models import add_model

from jupyter_ollama.library.library import Library
from jupyter_ollama.library.name import DEFAULT_HOST
from jupyter_ollama.library.store import Store
from jupyter_ollama.options import LoadOptions

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
TRANSFERS = ("/api/pull", "/api/push")
"""An error at a registry is an error of the server, which has no other status for it."""
READING = ("get", "head")
EXAMPLES = 20
"""The number of generated requests per operation."""

SHORT = {"num_predict": 3, "num_ctx": 256}
TOOLS_TEMPLATE = "{{ .Tools }}{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}assistant:"

MODELS: dict[str, dict[str, Any]] = {
    "smollm2": {"from_": "smollm2"},
    "qwen3": {"from_": "smollm2", "template": TOOLS_TEMPLATE},
    "gpt-oss": {"from_": "smollm2", "info": {"capabilities": ["thinking"]}},
    "embeddinggemma": {"from_": "all-minilm"},
    "llama3.1:8b-instruct-fp16": {"from_": "all-minilm"},
    "my-username/my-model": {"from_": "gemma3"},
}
"""The models that the examples name, of small ones. "gemma3" sees."""

GENERATED: dict[str, Any] = {
    "model": ["smollm2", "SmolLM2:latest", "all-minilm"],
    "from": ["smollm2"],  # a base that is missing would be pulled
    "source": ["smollm2", "nope"],
    "destination": ["twin", "me/twin:v1", "a//b"],
    "name": ["twin"],
}
"""The names that requests may hold where any text would do."""
CHANGED = {
    "CreateRequest": ["twin"],
    "DeleteRequest": ["twin", "me/twin:v1", "nope"],
    "PullRequest": ["my-username/my-model", "nope", "a//b"],
    "PushRequest": ["my-username/my-model", "nope", "a//b"],
}
"""The models that requests may change or send."""

SLOW = {*LoadOptions.__struct_fields__, "keep_alive"}
"""Fields that would reload the model."""
HINDRANCES = {"images", "suffix", "raw", "think", "thinking", "format", "tools", "tool_choice"}
HINDRANCES |= {"logit_bias", "response_format", "reasoning", "reasoning_effort", "options"}
HINDRANCES |= {"previous_response_id", "conversation", "text", "output_config", "remote_host"}
HINDRANCES |= {"files", "adapters", "draft_files", "template", "info", "quantize", "quantization"}
HINDRANCES |= {"draft_quantize", "parameters"}
"""Fields that most models or values do not go with: half of the requests come without."""
TAKEN = {"/api/delete": "twin", "/api/pull": "my-username/my-model"}
"""The models that some requests must find."""
REFUSED = "{|/rerank$|/audio/|/me$|/signout$|/web_|/admin/limits$|/mcp/call$|/v1/batches$"
"""Paths that generated requests find nothing under, and calls that no model or server supports."""
ABSENT = {"/web_": 501, "/mcp/call": 404, "/v1/batches": 404}
"""The statuses of examples that need what the server lacks: the web, an MCP server, a file."""
LENGTHS = {"num_predict", "max_tokens", "max_completion_tokens", "max_output_tokens"}


@schemathesis.deserializer("application/x-ndjson")
def read_lines(context: Any, response: Any) -> list[Any]:
    return lines_of(response.text)


@schemathesis.deserializer("text/event-stream")
def read_events(context: Any, response: Any) -> list[Any]:
    return events_of(response.text)


OURS = openapi.from_dict(checkable(closed(ours())))
OLLAMAS = openapi.from_dict(checkable(with_errors(ollamas())))


def write_models(folder: Path, ollama_store: Path) -> Path:
    """Make a store with all models that the examples name."""
    shutil.copytree(ollama_store, folder / "models", copy_function=os.link)
    model, projector = folder / "model.gguf", folder / "projector.gguf"
    tiny_vision.write_language_model(model)
    tiny_vision.write_projector(projector, "gemma3")
    library = Library(Store(folder / "models"))
    add_model(library, "gemma3", model, projector, parameters=SHORT)
    for name, fields in MODELS.items():
        add_model(library, name, parameters=SHORT, **fields)
    return folder / "models"


@pytest.fixture(scope="module")
def url(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that asks a registry on loopback, whatever a model is called.

    No request may leave a traceback in its log.
    """
    folder = tmp_path_factory.mktemp("openapi")
    models = write_models(folder, ollama_store)
    environment = {**os.environ, "HOME": str(folder)}
    with docker_registry(folder / "registry") as registry:
        mirror = f"--OllamaServer.registry_mirrors={DEFAULT_HOST}=http://{registry}"
        with serving(environment, models, folder, mirror) as served:
            yield f"http://{served.host}"
            assert "Traceback" not in served.log.read_text()


def send(case: Case, url: str) -> Any:
    """Send a request and check that the answer is as documented."""
    response = case.call(base_url=url, timeout=60)
    path = case.operation.path
    checks = CHECKS[1:] if path in TRANSFERS or "/web_" in path else CHECKS
    case.validate_response(response, checks=checks)
    return response


# The documents' own examples.


def own_examples() -> Iterator[Any]:
    for method, path, operation in operations(ours()):
        content = operation.get("requestBody", {}).get("content", {})
        if "example" in content.get("application/json", {}):
            body = content["application/json"]["example"]
            yield pytest.param(method, path, body, id=operation["operationId"])


def ollamas_examples() -> Iterator[Any]:
    for method, path, operation in operations(ollamas()):
        for sample in operation["x-codeSamples"]:
            _, quote, rest = sample["source"].partition(" -d '")
            body = json.loads(rest[: rest.rindex("'")]) if quote else None
            yield pytest.param(
                method, path, body, id=f"{operation['operationId']}-{sample['label']}"
            )
        content = operation.get("requestBody", {}).get("content", {})
        if "example" in content.get("application/json", {}):
            body = content["application/json"]["example"]
            yield pytest.param(method, path, body, id=f"{operation['operationId']}-example")


def prepare(url: str, path: str, body: Any) -> None:
    """Create the models that an example requires: one to delete, or one in a registry."""
    if path == "/api/delete":
        body = {"source": "smollm2", "destination": body["model"]}
        assert send(OURS["/api/copy"]["POST"].Case(body=body), url).status_code == 200
    if path == "/api/pull":
        assert send(OURS["/api/push"]["POST"].Case(body=body), url).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), [*own_examples(), *ollamas_examples()])
def test_examples(url: str, method: str, path: str, body: Any) -> None:
    request = {} if body is None else {"body": body, "media_type": "application/json"}
    for document in (OURS, OLLAMAS) if path in ollamas()["paths"] else (OURS,):
        prepare(url, path, body)
        response = send(document[path][method].Case(**request), url)
        status = next((ABSENT[part] for part in ABSENT if part in path), 200)
        assert response.status_code == status, response.text
        assert status != 200 or b'{"error":' not in response.content


# Requests made up from the schemas.


def bounded(document: Document) -> Document:
    """Return a document whose requests name models of the store, and change few of them."""
    for _, _, operation in operations(document):
        for schema in contents(document, operation.get("requestBody", {})).values():
            name = schema.get("$ref", "").rpartition("/")[2]
            body = document["components"]["schemas"].get(name, {})
            for field in body.get("properties", {}).keys() & GENERATED.keys():
                known = CHANGED.get(name) if field == "model" else None
                body["properties"][field] = {"enum": known or GENERATED[field]}
                body["required"] = sorted({*body["required"], field})
    return document


def quick(value: Any) -> Any:
    """Return a body without slow requests: loads, long answers, many of them."""
    if isinstance(value, list):
        return [quick(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _short(name, quick(item)) for name, item in value.items() if name not in SLOW}


def _short(name: str, value: Any) -> Any:
    if type(value) not in (int, float):
        return value
    if name in LENGTHS and not 0 < value <= 3:
        return 3
    return min(value, 2) if name == "n" and value <= 128 else value


def made_up(document: Document) -> list[Any]:
    schema = openapi.from_dict(bounded(document))
    found = [result.ok() for result in schema.get_all_operations()]
    return [pytest.param(one, id=f"{one.method.upper()} {one.path}") for one in found]


def check_made_up(operation: Any, url: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        modes = [GenerationMode.POSITIVE, GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
        # Other texts in a path may make it another path; other names may be those of registries
        # that are not on loopback.
        if "{" in operation.path or operation.path in TRANSFERS or operation.method in READING:
            modes = modes[:1]
        case = data.draw(operation.as_strategy(data.draw(st.sampled_from(modes))))
        case.body = quick(case.body)
        if isinstance(case.body, dict) and data.draw(st.booleans()):
            case.body = {k: v for k, v in case.body.items() if k not in HINDRANCES}
        statuses.add(send(case, url).status_code)

    statuses: set[int] = set()
    if operation.path in TAKEN:
        prepare(url, operation.path, {"model": TAKEN[operation.path]})
    seed(1)(check)()
    is_refused = re.search(REFUSED, operation.path)
    if 200 not in statuses and not is_refused:
        # The draws follow the constants in the package's source: all of a few may be invalid.
        seed(2)(check)()
    assert 200 in statuses or is_refused


@pytest.mark.parametrize("operation", made_up(checkable(closed(ours()))))
def test_requests_made_of_the_own_document(url: str, operation: Any) -> None:
    check_made_up(operation, url)


@pytest.mark.parametrize("operation", made_up(checkable(with_errors(ollamas()))))
def test_requests_made_of_ollamas_document(url: str, operation: Any) -> None:
    check_made_up(operation, url)
