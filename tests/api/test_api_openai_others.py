"""OpenAI's completions, embeddings and models over HTTP, by hand and by its own client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from api_client import Fetch, events, neighbour_error
from recorded import TOKENS

from jupyter_ollama.api import generate
from jupyter_ollama.api.endpoint import Call, Reply
from jupyter_ollama.api.wire import GenerateRequest
from jupyter_ollama.config import OllamaServer


def completion(**fields: Any) -> dict[str, Any]:
    asked = {"model": "smollm2", "prompt": "Name the capital of France.", "temperature": 0}
    return asked | {"max_tokens": 8, "num_ctx": 512} | fields


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


async def test_a_completion_whole_and_in_chunks(either: Fetch) -> None:
    body = json.loads((await either("POST", "/v1/completions", completion())).body)
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    [choice] = body["choices"]
    assert "Paris" in choice["text"]
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "length")
    assert body["usage"]["completion_tokens"] == 8
    asked = completion(stream=True, stream_options={"include_usage": True})
    *chunks, last, done = events(await either("POST", "/v1/completions", asked))
    assert done == {"done": True}
    assert len(chunks) > 2
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == choice["text"]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert reasons == [None] * (len(chunks) - 1) + ["length"]
    assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 8)


async def test_several_prompts_and_choices(standalone: Fetch) -> None:
    prompts = ["Name the capital of France.", "Name the capital of Norway."]
    short = {"max_tokens": 6}  # later tokens are near ties, which change beside other sequences
    one = [
        json.loads(
            (await standalone("POST", "/v1/completions", completion(prompt=p, **short))).body
        )
        for p in prompts
    ]
    asked = completion(prompt=prompts, n=2, echo=True, **short)
    both = json.loads((await standalone("POST", "/v1/completions", asked)).body)
    assert [choice["index"] for choice in both["choices"]] == [0, 1, 2, 3]
    expected = [p + body["choices"][0]["text"] for p, body in zip(prompts, one, strict=True)]
    assert [choice["text"] for choice in both["choices"]] == [e for e in expected for _ in "ab"]
    used = [body["usage"] for body in one]
    assert both["usage"]["prompt_tokens"] == sum(u["prompt_tokens"] for u in used)
    assert both["usage"]["completion_tokens"] == 2 * sum(u["completion_tokens"] for u in used)


async def test_logprobs_in_columns(openai_client: openai.AsyncOpenAI, monkeypatch: Any) -> None:
    async def play(call: Call) -> Reply:
        request = call.decode(GenerateRequest)
        assert (request.logprobs, request.top_logprobs) == (True, 2)
        return Reply({"response": "Hi!", "done": True, "done_reason": "stop", "logprobs": TOKENS})

    monkeypatch.setattr(generate, "generate", play)
    answer = await openai_client.completions.create(model="smollm2", prompt="Oh. ", logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs
    assert logprobs.model_dump() == {
        "tokens": ["Hi", "!"],
        "token_logprobs": [-0.25, -0.5],
        "top_logprobs": [{"Hi": -0.25, "Ho": -2.0}, {}],
        "text_offset": [4, 6],
    }


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"model": "all-minilm"}, 400, '"all-minilm" does not support generate'),
        ({"prompt": [1, 2]}, 400, "prompt must be a string or a list of strings"),
        ({"stop": [1.5]}, 400, "invalid type for 'stop' field: float64"),
        ({"suffix": "end"}, 400, '"smollm2" does not support insert'),
    ],
)
async def test_completions_that_are_refused(
    standalone: Fetch, fields: dict[str, Any], status: int, message: str
) -> None:
    response = await standalone("POST", "/v1/completions", completion(**fields))
    assert (response.code, neighbour_error(response)) == (status, message)


async def test_embeddings_as_numbers_and_as_base64(
    openai_client: openai.AsyncOpenAI, standalone: Fetch
) -> None:
    texts = ["a dog", "a cat"]
    native = await standalone("POST", "/api/embed", {"model": "all-minilm", "input": texts})
    rows = np.array(json.loads(native.body)["embeddings"], "f4")
    # The client asks for base64 where nothing is said.
    for options in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}):
        answer = await openai_client.embeddings.create(model="all-minilm", input=texts, **options)
        assert [entry.index for entry in answer.data] == [0, 1]
        vectors = [entry.embedding for entry in answer.data]
        if options.get("encoding_format") == "base64":
            import base64

            vectors = [np.frombuffer(base64.b64decode(str(text)), "<f4") for text in vectors]
        assert np.array_equal(np.array(vectors, "f4"), rows)
        assert answer.usage.prompt_tokens == json.loads(native.body)["prompt_eval_count"]
    short = await openai_client.embeddings.create(model="all-minilm", input="a dog", dimensions=8)
    [entry] = short.data
    assert len(entry.embedding) == 8
    assert np.linalg.norm(entry.embedding) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"model": ""}, 400, "model is required"),
        ({"model": "nope"}, 404, 'model "nope" not found, try pulling it first'),
        ({"input": None}, 400, "invalid input"),
        ({"input": []}, 400, "invalid input"),
        ({"input": [1, 2]}, 400, "invalid input type"),
        ({"input": {}}, 400, "invalid input type"),
        (
            {"encoding_format": "hex"},
            400,
            "Invalid value for 'encoding_format' = hex. Supported values: ['float', 'base64'].",
        ),
        (
            {"input": "word " * 400, "truncate": False},
            400,
            "the input length exceeds the context length",
        ),
    ],
)
async def test_embeddings_that_are_refused(
    standalone: Fetch, fields: dict[str, Any], status: int, message: str
) -> None:
    asked = {"model": "all-minilm", "input": "a"} | fields
    response = await standalone("POST", "/v1/embeddings", asked)
    assert (response.code, neighbour_error(response)) == (status, message)


async def test_an_empty_text_and_headers_for_other_formats(standalone: Fetch) -> None:
    headers = {"Accept": "application/vnd.apache.arrow.stream, */*;q=0.1"}
    asked = {"model": "all-minilm", "input": ""}
    response = await standalone("POST", "/v1/embeddings", asked, headers=headers)
    assert len(json.loads(response.body)["data"]) == 1


async def test_models(openai_client: openai.AsyncOpenAI, standalone: Fetch) -> None:
    copy = {"source": "smollm2", "destination": "me/twin:v1"}
    await standalone("POST", "/api/copy", copy)
    listed = {model.id: model async for model in openai_client.models.list()}
    assert listed.keys() == {"smollm2:latest", "all-minilm:latest", "me/twin:v1"}
    assert {model.owned_by for model in listed.values()} == {"library", "me"}
    assert all(model.created > 1_600_000_000 for model in listed.values())
    for name in ("smollm2", "me/twin:v1", "registry.ollama.ai/library/smollm2:latest"):
        model = await openai_client.models.retrieve(name)
        assert (model.id, model.object) == (name, "model")
        raw = await standalone("GET", f"/v1/models/{name}")
        assert json.loads(raw.body)["id"] == name
    for name, status, message in (
        ("no/such", 404, "model 'no/such' not found"),
        ("a%20b", 400, "invalid model name"),
    ):
        response = await standalone("GET", f"/v1/models/{name}")
        assert (response.code, neighbour_error(response)) == (status, message)


async def test_an_empty_store_has_a_list(standalone: Fetch, ollama_server: OllamaServer) -> None:
    for name in ("smollm2", "all-minilm"):
        await standalone("DELETE", "/api/delete", {"model": name})
    response = await standalone("GET", "/v1/models")
    assert json.loads(response.body) == {"object": "list", "data": []}
