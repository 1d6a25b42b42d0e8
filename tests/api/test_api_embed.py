"""Embeddings over HTTP, with a real model behind them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from api_client import Fetch, error

from jupyter_ollama.api.embed import _cut, _rows
from jupyter_ollama.engine.handle import Embeddings
from jupyter_ollama.errors import OllamaError


@pytest.fixture
def models_dir(scratch_store: Path) -> Path:
    return scratch_store


async def embed(fetch: Fetch, **fields: Any) -> dict[str, Any]:
    response = await fetch("POST", "/api/embed", {"model": "all-minilm"} | fields)
    assert response.code == 200, response.body
    body: dict[str, Any] = json.loads(response.body)
    return body


async def test_unit_vectors_in_the_order_of_the_texts(either: Fetch) -> None:
    texts = ["a cat", "quarterly tax returns", "a small kitten"]
    body = await embed(either, input=texts)
    keys = ["model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"]
    assert list(body) == keys
    rows = np.array(body["embeddings"])
    assert rows.shape == (3, 384)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)
    assert rows[0] @ rows[2] > rows[0] @ rows[1] + 0.2
    alone = np.array((await embed(either, input=texts[1]))["embeddings"])
    assert np.allclose(alone[0], rows[1], atol=1e-3)


async def test_nothing_to_embed_only_loads(standalone: Fetch) -> None:
    for value in (None, "", []):
        assert await embed(standalone, input=value) == {"model": "all-minilm", "embeddings": []}
    assert json.loads((await standalone("GET", "/api/ps")).body)["models"]
    assert len((await embed(standalone, input=[""]))["embeddings"]) == 1


async def test_dimensions_cut_and_normalise_again(standalone: Fetch) -> None:
    [whole] = (await embed(standalone, input="a cat"))["embeddings"]
    [cut] = (await embed(standalone, input="a cat", dimensions=16))["embeddings"]
    norm = math.sqrt(sum(x * x for x in whole[:16]))
    assert np.allclose(cut, np.array(whole[:16]) / norm, atol=1e-5)
    [more] = (await embed(standalone, input="a cat", dimensions=5000))["embeddings"]
    assert len(more) == 384


async def test_long_texts_are_cut_or_refused(standalone: Fetch) -> None:
    text = "word " * 2000
    assert len((await embed(standalone, input=text))["embeddings"][0]) == 384
    body = {"model": "all-minilm", "input": text, "truncate": False}
    response = await standalone("POST", "/api/embed", body)
    assert response.code == 400
    assert "context length" in error(response)
    body = {"model": "all-minilm", "prompt": text}
    response = await standalone("POST", "/api/embeddings", body)
    assert (response.code, error(response)) == (
        500,
        "the input length exceeds the context length",
    )


async def test_the_older_endpoint_does_not_normalise(standalone: Fetch) -> None:
    response = await standalone(
        "POST", "/api/embeddings", {"model": "all-minilm", "prompt": "a cat"}
    )
    body = json.loads(response.body)
    assert list(body) == ["embedding"]
    [unit] = (await embed(standalone, input="a cat"))["embeddings"]
    vector = np.array(body["embedding"])
    assert abs(np.linalg.norm(vector) - 1) > 0.01
    assert np.allclose(vector / np.linalg.norm(vector), unit, atol=1e-4)
    response = await standalone("POST", "/api/embeddings", {"model": "all-minilm"})
    assert json.loads(response.body) == {"embedding": []}


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("embed", {"model": "all-minilm", "input": [1]}, 400, "invalid input type"),
        ("embed", {"model": "all-minilm", "input": {}}, 400, "invalid input type"),
        ("embed", {"model": "x", "input": "a"}, 404, 'model "x" not found, try pulling it first'),
        ("embed", {"model": "a//b"}, 404, 'model "a//b" not found, try pulling it first'),
        ("embeddings", {}, 400, "model is required"),
        ("embeddings", {"model": "a//b", "prompt": "a"}, 400, "model is required"),
        ("embeddings", {"model": "x"}, 404, 'model "x" not found, try pulling it first'),
    ],
)
async def test_refusals(
    either: Fetch, path: str, body: dict[str, Any], status: int, message: str
) -> None:
    response = await either("POST", f"/api/{path}", body)
    assert (response.code, error(response)) == (status, message)


def test_numbers_that_are_none_are_an_error() -> None:
    rows = np.array([[1, np.nan]], dtype="<f4").tobytes()
    with pytest.raises(OllamaError, match="embedding contains NaN or Inf values"):
        _rows(Embeddings(rows, 1, 2, 3))


def test_a_row_of_zeros_can_be_cut() -> None:
    assert _cut(np.zeros((1, 4), dtype=np.float32), 2).tolist() == [[0, 0]]


async def test_the_answer_is_not_compressed(jupyter: Fetch) -> None:
    body = {"model": "all-minilm", "input": ["a"] * 10}
    response = await jupyter("POST", "/api/embed", body, headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "identity"
    assert len(json.loads(response.body)["embeddings"]) == 10


async def test_the_python_client_of_ollama_embeds(standalone_url: str) -> None:
    import ollama

    client = ollama.AsyncClient(host=standalone_url)
    answer = await client.embed("all-minilm", ["a", "b"], dimensions=8)
    assert [len(row) for row in answer.embeddings] == [8, 8]
    assert len((await client.embeddings("all-minilm", "a")).embedding) == 384
