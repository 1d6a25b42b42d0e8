"""Documents ranked for a query, by a tiny model whose scores numpy knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error, neighbour_error
from store_models import create_model
from tiny_ranker import SEP, TinyRanker

from jupyter_ollama.library.library import Library

QUERY = "what is a panda"
DOCUMENTS = ["hi", "paris is a city in france", "the giant panda is a bear of china"]
TEMPLATE = "the bear {query}[SEP]{document}[SEP]"
TOLERANCE = 0.02
"""llama.cpp looks up GELU in a table of F16."""


@pytest.fixture(scope="module")
def ranker() -> TinyRanker:
    return TinyRanker()


@pytest.fixture(scope="module")
def ranking(ranker: TinyRanker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with "ranker", and "templated", which puts pairs into a template."""
    folder = tmp_path_factory.mktemp("ranking")
    library = Library.open(folder / "models")
    for name, template in (("ranker", ""), ("templated", TEMPLATE)):
        path = ranker.write(folder / f"{name}.gguf", template=template)
        digest = library.store.add_blob(path.read_bytes()).digest
        create_model(library, model=name, files={"model.gguf": digest})
    return folder / "models"


@pytest.fixture
def models_dir(ranking: Path) -> Path:
    return ranking


async def rerank(fetch: Fetch, path: str = "/api/rerank", **fields: Any) -> dict[str, Any]:
    body = {"model": "ranker", "query": QUERY, "documents": DOCUMENTS} | fields
    response = await fetch("POST", path, body)
    assert response.code == 200, response.body
    answer: dict[str, Any] = json.loads(response.body)
    return answer


def assert_ranked(results: list[dict[str, Any]], scores: list[float]) -> None:
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    assert [one["index"] for one in results] == order
    for one in results:
        assert one["relevance_score"] == pytest.approx(scores[one["index"]], abs=TOLERANCE)


async def test_scores_agree_with_numpy(either: Fetch, ranker: TinyRanker) -> None:
    pairs = [ranker.pair(QUERY, document) for document in DOCUMENTS]
    answer = await rerank(either)
    assert_ranked(answer["results"], [ranker.score(pair) for pair in pairs])
    assert answer["prompt_eval_count"] == sum(map(len, pairs))
    assert list(answer["results"][0]) == ["index", "relevance_score"]


async def test_many_documents_keep_their_scores(standalone: Fetch, ranker: TinyRanker) -> None:
    documents = [f"{'panda ' * (n % 7)}{DOCUMENTS[n % 3]}" for n in range(60)]
    results = (await rerank(standalone, documents=documents))["results"]
    assert sorted(one["index"] for one in results) == list(range(60))
    scores = [one["relevance_score"] for one in results]
    assert scores == sorted(scores, reverse=True)
    for one in results:
        expected = ranker.score(ranker.pair(QUERY, documents[one["index"]]))
        assert one["relevance_score"] == pytest.approx(expected, abs=TOLERANCE)


async def test_as_jinas_clients_ask(standalone: Fetch) -> None:
    documents = [{"text": DOCUMENTS[0]}, *DOCUMENTS[1:]]
    fields = {"documents": documents, "top_n": 2, "return_documents": True}
    answer = await rerank(standalone, "/v1/rerank", **fields)
    assert list(answer) == ["model", "object", "usage", "results"]
    assert answer["usage"] == {"prompt_tokens": 36, "total_tokens": 36}
    assert [one["document"] for one in answer["results"]] == [
        {"text": DOCUMENTS[one["index"]]} for one in answer["results"]
    ]
    whole = (await rerank(standalone))["results"]
    assert [one["index"] for one in answer["results"]] == [one["index"] for one in whole[:2]]


async def test_a_template_of_the_model_is_used(standalone: Fetch, ranker: TinyRanker) -> None:
    begin = ranker.pair("the bear " + QUERY, "")[1:-1]
    pairs = [[*begin, *ranker.pair("", text)[2:-1], SEP] for text in DOCUMENTS]
    answer = await rerank(standalone, model="templated")
    assert_ranked(answer["results"], [ranker.score(pair) for pair in pairs])


@pytest.mark.parametrize("model", ["ranker", "templated"])
async def test_long_documents_are_cut_or_refused(
    standalone: Fetch, ranker: TinyRanker, model: str
) -> None:
    documents = ["panda bamboo " * 500]
    [one] = (await rerank(standalone, model=model, documents=documents))["results"]
    if model == "ranker":
        pair = [*ranker.pair(QUERY, documents[0])[:127], SEP]
        assert one["relevance_score"] == pytest.approx(ranker.score(pair), abs=TOLERANCE)
    body = {"model": model, "query": QUERY, "documents": documents}
    response = await standalone("POST", "/api/rerank", body | {"truncate": False})
    assert (response.code, error(response)) == (400, "the input length exceeds the context length")
    response = await standalone("POST", "/api/rerank", body | {"query": "panda " * 200})
    assert response.code == 400
    assert "context length" in error(response)


LIST = "documents must be a list of texts, or of objects with a text"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"query": ""}, "query is required"),
        ({"documents": []}, LIST),
        ({"documents": [{"title": "hi"}]}, LIST),
        ({"documents": [7]}, LIST),
        ({"top_n": 0}, "top_n must be at least 1"),
    ],
)
async def test_inputs_that_cannot_be_ranked(
    standalone: Fetch, fields: dict[str, Any], message: str
) -> None:
    body = {"model": "ranker", "query": QUERY, "documents": DOCUMENTS} | fields
    response = await standalone("POST", "/api/rerank", body)
    assert (response.code, error(response)) == (400, message)
    response = await standalone("POST", "/v1/rerank", body)
    assert (response.code, neighbour_error(response)) == (400, message)


async def test_a_model_that_ranks_does_not_embed(standalone: Fetch) -> None:
    response = await standalone("POST", "/api/embed", {"model": "ranker", "input": "hi"})
    message = "this model ranks documents, it does not embed texts"
    assert (response.code, error(response)) == (400, message)


class TestOthers:
    """Models that do not rank."""

    @pytest.fixture
    def models_dir(self, scratch_store: Path) -> Path:
        return scratch_store

    @pytest.mark.parametrize("model", ["smollm2", "all-minilm"])
    async def test_are_refused(self, standalone: Fetch, model: str) -> None:
        body = {"model": model, "query": QUERY, "documents": DOCUMENTS}
        response = await standalone("POST", "/api/rerank", body)
        assert (response.code, error(response)) == (400, f'"{model}" does not support rerank')
