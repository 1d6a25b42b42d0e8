"""A real server held to two OpenAPI documents: its own and Ollama's.

Its own is closed to what it does not name. Requests are the documents' examples, and what schemathesis makes of the schemas.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
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
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from jupyter_ollama.library.create import CreateRequest
from jupyter_ollama.library.model import Library
from jupyter_ollama.library.store import Store

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
"""How many requests are made up for each operation."""

SHORT = {"num_predict": 3, "num_ctx": 256}
TOOLS_TEMPLATE = "{{ .Tools }}{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}assistant:"

MODELS: dict[str, dict[str, Any]] = {
    "smollm2": {"from_": "smollm2"},
    "gemma3": {"from_": "smollm2", "info": {"capabilities": ["vision"]}},
    "qwen3": {"from_": "smollm2", "template": TOOLS_TEMPLATE},
    "gpt-oss": {"from_": "smollm2", "info": {"capabilities": ["thinking"]}},
    "embeddinggemma": {"from_": "all-minilm"},
    "llama3.1:8b-instruct-fp16": {"from_": "all-minilm"},
    "my-username/my-model": {"from_": "smollm2"},
}
"""The models that the examples name, made of small ones. Answers are short if nothing is said."""

GENERATED: dict[str, Any] = {
    "model": ["smollm2", "SmolLM2:latest", "all-minilm", "nope"],
    "from": ["smollm2", "nope"],
    "source": ["smollm2", "nope"],
    "destination": ["twin", "me/twin:v1", "a//b"],
    "name": ["twin"],
}
"""The names that requests may hold where any text would do."""
CHANGED = {"CreateRequest": ["twin"], "DeleteRequest": ["twin", "me/twin:v1", "nope"]}
"""The models that requests may change."""

SLOW = {"num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "tensor_split", "use_mmap"}
SLOW |= {"kv_cache_type", "flash_attention", "keep_alive"}
"""What would have the model loaded again."""
LENGTHS = {"num_predict", "max_tokens", "max_completion_tokens", "max_output_tokens"}


@schemathesis.deserializer("application/x-ndjson")
def read_lines(context: Any, response: Any) -> list[Any]:
    return lines_of(response.text)


@schemathesis.deserializer("text/event-stream")
def read_events(context: Any, response: Any) -> list[Any]:
    return events_of(response.text)


OURS = openapi.from_dict(checkable(closed(ours())))
OLLAMAS = openapi.from_dict(checkable(with_errors(ollamas())))


@pytest.fixture(scope="module")
def url(ollama_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of its own, in whose log no request may leave a traceback."""
    folder = tmp_path_factory.mktemp("openapi")
    models = folder / "models"
    shutil.copytree(ollama_store, models, copy_function=os.link)
    library = Library(Store(models))
    for name, fields in MODELS.items():
        list(library.create(CreateRequest(model=name, parameters=SHORT, **fields)))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with serving({**os.environ, "PATH": path, "HOME": str(folder)}, models, folder) as served:
        yield f"http://{served.host}"
        assert "Traceback" not in served.log.read_text()


def send(case: Case, url: str) -> Any:
    """Send a request and check that the answer is as documented."""
    response = case.call(base_url=url, timeout=60)
    case.validate_response(response, checks=CHECKS)
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


# Once images or transfers are served, empty this table: the models that the examples name then have
# to be able to do so (MODELS, and a registry).
REFUSED = {
    "/api/pull": "pulling models is not supported yet",
    "/api/push": "pushing models is not supported yet",
    "images": "images are not supported yet",
}


def refusal(path: str, body: Any) -> str | None:
    return REFUSED.get("images" if '"images"' in json.dumps(body) else path)


@pytest.mark.parametrize(("method", "path", "body"), [*own_examples(), *ollamas_examples()])
def test_examples(url: str, method: str, path: str, body: Any) -> None:
    if path == "/api/delete":
        copied = {"source": "smollm2", "destination": body["model"]}
        assert send(OURS["/api/copy"]["POST"].Case(body=copied), url).status_code == 200
    request: dict[str, Any] = {} if body is None else {"body": body}
    request["media_type"] = "application/json"
    response = send(OURS[path][method].Case(**request), url)
    expected = refusal(path, body)
    if expected:
        assert (response.status_code, response.json()) == (400, {"error": expected})
    else:
        assert response.status_code == 200, response.text
    if path in ollamas()["paths"]:
        send(OLLAMAS[path][method].Case(**request), url)


# Requests made up from the schemas.


def bounded(document: Document) -> Document:
    """Return a document whose requests name models of the store, and change few of them."""
    for _, _, operation in operations(document):
        for schema in contents(document, operation.get("requestBody", {})).values():
            name = schema.get("$ref", "").rpartition("/")[2]
            properties = document["components"]["schemas"].get(name, {}).get("properties", {})
            for field in properties.keys() & GENERATED.keys():
                known = CHANGED.get(name) if field == "model" else None
                properties[field] = {"enum": known or GENERATED[field]}
    return document


def quick(value: Any) -> Any:
    """Return a body without what would take long: loads, long answers, many of them."""
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
    @seed(1)
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
        if operation.method.upper() in ("GET", "HEAD"):
            modes = modes[:1]
        case = data.draw(operation.as_strategy(data.draw(st.sampled_from(modes))))
        case.body = quick(case.body)
        send(case, url)

    check()


@pytest.mark.parametrize("operation", made_up(checkable(closed(ours()))))
def test_requests_made_of_the_own_document(url: str, operation: Any) -> None:
    check_made_up(operation, url)


@pytest.mark.parametrize("operation", made_up(checkable(with_errors(ollamas()))))
def test_requests_made_of_ollamas_document(url: str, operation: Any) -> None:
    check_made_up(operation, url)
