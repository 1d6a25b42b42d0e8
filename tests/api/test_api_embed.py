"""Embeddings over HTTP, with a real model behind them."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from api_client import Fetch, error
from jupyter_ollama_client import Client
from jupyter_ollama_client import vectors as client_vectors
from jupyter_ollama_magics.embed import embed as embed_column

from jupyter_ollama.api import vectors
from jupyter_ollama.api.embed import _cut, _rows
from jupyter_ollama.api.vectors import ARROW, answers_arrow, arrow_stream
from jupyter_ollama.engine.runner_client import Embeddings
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
    assert (response.code, error(response)) == (400, "the input length exceeds the context length")
    body = {"model": "all-minilm", "prompt": text}
    response = await standalone("POST", "/api/embeddings", body)
    assert (response.code, error(response)) == (400, "the input length exceeds the context length")


@pytest.mark.parametrize(("num_ctx", "tokens"), [(3, 3), (4, 4), (5, 5), (4096, 11)])
async def test_the_shortest_contexts_bound_texts(
    standalone: Fetch, num_ctx: int, tokens: int
) -> None:
    text = "one two three four five six seven eight nine"
    body = {"model": "all-minilm", "input": text, "options": {"num_ctx": num_ctx}}
    response = await standalone("POST", "/api/embed", body)
    assert json.loads(response.body)["prompt_eval_count"] == tokens


@pytest.mark.parametrize("num_ctx", [1, 2])
async def test_a_context_without_a_place_for_words_is_refused(
    standalone: Fetch, num_ctx: int
) -> None:
    body = {"model": "all-minilm", "input": "one two", "options": {"num_ctx": num_ctx}}
    response = await standalone("POST", "/api/embed", body)
    assert response.code == 400
    assert b"input after truncation exceeds maximum context length" in response.body


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
        (
            "embed",
            {"model": "all-minilm", "input": "a", "encoding_format": "int8"},
            400,
            "Invalid value for 'encoding_format' = int8. Supported values: ['float', 'base64'].",
        ),
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


def test_values_that_are_not_numbers_are_an_error() -> None:
    rows = np.array([[1, np.nan]], dtype="<f4").tobytes()
    with pytest.raises(OllamaError, match="embedding contains NaN or Inf values"):
        _rows(Embeddings(rows, 1, 2, 3))


def test_a_row_of_zeros_can_be_cut() -> None:
    assert _cut(np.zeros((1, 4), dtype=np.float32), 2).tolist() == [[0, 0]]


async def test_base64_is_the_same_in_fewer_bytes(either: Fetch) -> None:
    numbers = await embed(either, input=["a cat", "a dog"], dimensions=8)
    texts = await embed(either, input=["a cat", "a dog"], dimensions=8, encoding_format="Base64")
    assert list(texts) == list(numbers)
    rows = [np.frombuffer(base64.b64decode(text), "<f4") for text in texts["embeddings"]]
    assert np.array_equal(rows, np.array(numbers["embeddings"], np.float32))
    plain = await embed(either, input=["a cat", "a dog"], dimensions=8, encoding_format="float")
    assert plain["embeddings"] == numbers["embeddings"]


@pytest.mark.parametrize(
    ("accept", "arrow", "without_pyarrow"),
    [
        ("", False, False),
        ("*/*", False, False),
        ("text/html", False, False),
        ("application/json", False, False),
        (f"{ARROW}, application/json;q=0.9", True, False),
        (f"application/json, {ARROW.upper()}", True, False),
        (f"{ARROW};q=0.5, */*", False, False),
        (f"{ARROW};q=0, */*;q=0.1", False, False),
        (ARROW, True, None),
        (f"{ARROW}; q=often, text/html", True, None),
    ],
)
def test_accept_headers(
    accept: str, arrow: bool, without_pyarrow: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answers_arrow(accept) is arrow
    monkeypatch.setattr(vectors, "find_spec", lambda name: None)
    if without_pyarrow is None:
        with pytest.raises(OllamaError, match="needs pyarrow on the server") as caught:
            answers_arrow(accept)
        assert caught.value.status == 406
    else:
        assert answers_arrow(accept) is without_pyarrow


def test_an_arrow_stream_is_one_batch_of_one_column() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    with pa.ipc.open_stream(arrow_stream(rows, {"model": "m", "load_duration": "7"})) as stream:
        assert stream.schema.field("embedding").type == pa.list_(pa.float32(), 2)
        assert stream.schema.metadata == {b"model": b"m", b"load_duration": b"7"}
        [batch] = list(stream)
    assert batch.to_pydict() == {"embedding": [[0, 1], [2, 3], [4, 5]]}


async def test_a_column_of_a_frame(standalone_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    column = pd.Series(["a cat", None, "a dog", "a cat"], index=list("wxyz"))
    with closing(Client(standalone_url)) as client:
        embedded = await asyncio.to_thread(embed_column, column, client, "all-minilm", 4)
        assert embedded.index.tolist() == list("wxyz")
        assert (embedded.dtypes == np.float32).all()
        assert embedded.isna().all(axis=1).tolist() == [False, True, False, False]
        assert embedded.loc["w"].equals(embedded.loc["z"])
        monkeypatch.setattr(client_vectors, "find_spec", lambda name: None)
        answer = await asyncio.to_thread(
            client.embed, "all-minilm", ["a cat", "a dog"], dimensions=4
        )
        assert np.allclose(answer["embeddings"], embedded.loc[["w", "y"]], atol=1e-6)
        assert answer["prompt_eval_count"] == 8


async def test_the_answer_is_not_compressed(jupyter: Fetch) -> None:
    body = {"model": "all-minilm", "input": ["a"] * 10}
    response = await jupyter("POST", "/api/embed", body, headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "identity"
    assert len(json.loads(response.body)["embeddings"]) == 10


async def test_the_python_client_of_ollama_embeds(standalone_url: str) -> None:
    import ollama

    async with ollama.AsyncClient(host=standalone_url) as client:
        answer = await client.embed("all-minilm", ["a", "b"], dimensions=8)
        assert [len(row) for row in answer.embeddings] == [8, 8]
        assert len((await client.embeddings("all-minilm", "a")).embedding) == 384


async def test_arrow_for_clients_that_accept_it(
    either: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"model": "all-minilm", "input": ["a cat", "a dog"]}
    numbers = await embed(either, **body)
    response = await either("POST", "/api/embed", body, headers={"Accept": ARROW})
    assert (response.code, response.headers["Content-Type"]) == (200, ARROW)
    with pa.ipc.open_stream(response.body) as stream:
        table = stream.read_all()
    assert table.schema.metadata[b"model"] == b"all-minilm"
    assert int(table.schema.metadata[b"prompt_eval_count"]) == numbers["prompt_eval_count"]
    assert np.allclose(table["embedding"].to_pylist(), numbers["embeddings"], atol=1e-6)
    nothing = await either("POST", "/api/embed", body | {"input": []}, headers={"Accept": ARROW})
    assert json.loads(nothing.body)["embeddings"] == []
    monkeypatch.setattr(vectors, "find_spec", lambda name: None)
    response = await either("POST", "/api/embed", body, headers={"Accept": ARROW})
    assert (response.code, error(response)) == (
        406,
        f"{ARROW} needs pyarrow on the server; accept application/json",
    )
