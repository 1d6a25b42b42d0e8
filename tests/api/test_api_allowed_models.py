"""``limits["models"]``: no route shows, runs or changes a model that is not allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_client import error, generate
from shared_server import sharing
from sound_files import tone, wav

from jupyter_ollama.api.routes import ROUTES

LIMITS = {"user:ann": {"models": ["all-minilm"]}}
MESSAGES = [{"role": "user", "content": "Hi"}]

WITH_A_MODEL: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("POST", "/api/show"): [{"model": "MODEL"}, {"name": "MODEL", "verbose": True}],
    ("POST", "/api/copy"): [
        {"source": "MODEL", "destination": "all-minilm"},
        {"source": "all-minilm", "destination": "MODEL"},
    ],
    ("DELETE", "/api/delete"): [{"model": "MODEL"}, {"name": "MODEL"}],
    ("POST", "/api/create"): [
        {"model": "all-minilm", "from": "MODEL"},
        {"model": "MODEL", "from": "all-minilm"},
        {"name": "MODEL", "from": "all-minilm", "stream": False},
    ],
    ("POST", "/api/generate"): [
        {"model": "MODEL", "prompt": "Hi"},
        {"model": "MODEL"},
        {"model": "MODEL", "keep_alive": 0},
    ],
    ("POST", "/api/chat"): [
        {"model": "MODEL", "messages": MESSAGES},
        {"model": "MODEL", "messages": [], "keep_alive": 0},
    ],
    ("POST", "/api/embed"): [{"model": "MODEL", "input": "Hi"}, {"model": "MODEL", "input": []}],
    ("POST", "/api/embeddings"): [{"model": "MODEL", "prompt": "Hi"}],
    ("POST", "/api/tokenize"): [{"model": "MODEL", "content": "Hi"}],
    ("POST", "/api/detokenize"): [{"model": "MODEL", "tokens": [1]}],
    ("POST", "/api/score"): [{"model": "MODEL", "prompt": "Hi", "continuations": ["!"]}],
    ("POST", "/api/rerank"): [{"model": "MODEL", "query": "Hi", "documents": ["Ho"]}],
    ("POST", "/api/pull"): [{"model": "MODEL"}, {"name": "MODEL", "stream": False}],
    ("POST", "/api/push"): [{"model": "MODEL"}, {"name": "MODEL", "stream": False}],
    ("POST", "/v1/chat/completions"): [{"model": "MODEL", "messages": MESSAGES}],
    ("POST", "/v1/completions"): [{"model": "MODEL", "prompt": "Hi"}],
    ("POST", "/v1/embeddings"): [{"model": "MODEL", "input": "Hi"}],
    ("POST", "/v1/rerank"): [{"model": "MODEL", "query": "Hi", "documents": ["Ho"]}],
    ("GET", "/v1/models/(.+?)"): [{}],
    ("POST", "/v1/responses"): [{"model": "MODEL", "input": "Hi"}],
    ("POST", "/v1/messages"): [{"model": "MODEL", "messages": MESSAGES, "max_tokens": 1}],
    ("POST", "/v1/messages/count_tokens"): [{"model": "MODEL", "messages": MESSAGES}],
}
"""Bodies for each route that takes the name of a model."""

LISTS = {("GET", "/api/tags"), ("GET", "/api/ps"), ("GET", "/v1/models"), ("GET", "/health")}
FORM = ("POST", "/v1/audio/transcriptions")
WITHOUT_A_MODEL = {
    *(("GET", path) for path in ("", r"/openapi\.json", r"/openapi\.yaml", "/api/status")),
    *(("GET", path) for path in ("/api/version", "/api/devices", "/api/requests", "/usage")),
    *(("POST", path) for path in ("/api/me", "/api/signout")),
    ("GET", "/api/experimental/model-recommendations"),
    ("DELETE", "/api/user/keys/([^/]+)"),
    ("POST", "/api/blobs/([^/]+)"),
    ("DELETE", "/api/requests/([A-Za-z0-9_.:-]+)"),
    ("GET", "/api/mcp"),
    ("POST", "/api/mcp/call"),
    *((method, "/v1/files") for method in ("GET", "POST")),
    *((method, "/v1/files/([A-Za-z0-9_.:-]+)") for method in ("GET", "DELETE")),
    ("GET", "/v1/files/([A-Za-z0-9_.:-]+)/content"),
    *((method, "/v1/batches") for method in ("GET", "POST")),
    ("GET", "/v1/batches/([A-Za-z0-9_.:-]+)"),
    ("POST", "/v1/batches/([A-Za-z0-9_.:-]+)/cancel"),
}
"""The rows of a batch name models, too: `test_api_batches.py` has one that is not allowed."""


def test_every_route_is_considered() -> None:
    routes = {
        (method, route.path)
        for route in ROUTES
        for method in route.methods
        if method != "HEAD" and "/web_" not in route.path and not route.path.startswith("/admin/")
    }
    assert routes == {*WITH_A_MODEL, *LISTS, *WITHOUT_A_MODEL, FORM}


@pytest.mark.parametrize("spelling", ["smollm2", "SmolLM2:latest", "library/smollm2", "missing"])
async def test_no_route_takes_the_name(scratch_store: Path, spelling: str) -> None:
    models_dir = str(scratch_store)
    async with sharing(models_dir=models_dir, limits=LIMITS, offline=True) as shared:
        ann = shared.user("ann")
        for (method, path), bodies in WITH_A_MODEL.items():
            for body in bodies:
                text = json.dumps(body).replace("MODEL", spelling)
                where = path.replace("(.+?)", spelling)
                answer = await ann(method, where, json.loads(text) if body else None)
                assert (answer.code, b"is not allowed for you" in answer.body) == (403, True), (
                    f"{method} {where} {text}: {answer.code} {answer.body!r}"
                )
        part = '--x\r\nContent-Disposition: form-data; name="{}"; filename="a.wav"\r\n\r\n'
        form = part.format("model").replace('; filename="a.wav"', "") + spelling + "\r\n"
        body = form.encode() + part.format("file").encode() + wav(tone(0.1)) + b"\r\n--x--\r\n"
        answer = await shared.client.fetch(
            shared.url + FORM[1],
            method="POST",
            body=body,
            headers={"X-Test-User": "ann", "Content-Type": "multipart/form-data; boundary=x"},
            raise_error=False,
        )
        assert (answer.code, b"is not allowed for you" in answer.body) == (403, True)
        assert not shared.server.scheduler.loaded()
        assert len(shared.server.library.list()) == 2


async def test_lists_leave_it_out_and_it_cannot_be_unloaded(ollama_store: Path) -> None:
    async with sharing(models_dir=str(ollama_store), limits=LIMITS) as shared:
        ann, bob = shared.user("ann"), shared.user("bob")
        assert (await bob("POST", "/api/generate", generate())).code == 200
        for fetch, found in ((ann, False), (bob, True)):
            for _, path in LISTS:
                answer = await fetch("GET", path)
                assert answer.code == 200
                assert (b"smollm2" in answer.body) is found, (path, answer.body)
        (loaded,) = shared.server.scheduler.loaded()
        for text in (loaded.model.digest, loaded.model.digest[:12], "smollm2"):
            answer = await ann("POST", "/api/generate", {"model": text, "keep_alive": 0})
            assert answer.code == 403, answer.body
            assert "is not allowed for you; allowed: all-minilm" in error(answer)
        (loaded,) = shared.server.scheduler.loaded()
        assert loaded.keep_alive
        body = {"model": loaded.model.digest[:12], "keep_alive": 0}
        assert (await bob("POST", "/api/generate", body)).code == 200
        assert not shared.server.scheduler.loaded()


async def test_a_digest_of_an_allowed_model_unloads_it(ollama_store: Path) -> None:
    async with sharing(models_dir=str(ollama_store), limits=LIMITS) as shared:
        ann = shared.user("ann")
        body = {"model": "all-minilm", "input": "Hi"}
        assert (await ann("POST", "/api/embed", body)).code == 200
        (loaded,) = shared.server.scheduler.loaded()
        body = {"model": loaded.model.digest[:12], "keep_alive": 0}
        assert (await ann("POST", "/api/generate", body)).code == 200
        assert not shared.server.scheduler.loaded()
