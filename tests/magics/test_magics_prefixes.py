"""The prefixes of embedding models, and where they are sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jupyter_ollama_magics.accessor  # noqa: F401
import pandas as pd
import pytest
import row_server
from jupyter_ollama_magics.failures import OllamaMagicsError
from jupyter_ollama_magics.prefixes import RULES, Prefixes, prefixes_of, rule_of
from jupyter_ollama_magics.rows.tasks import Embed

PASSAGES = "Represent this sentence for searching relevant passages: "
INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
TEXTS = pd.Series(["water", None, "sun"])


@pytest.mark.parametrize(
    ("model", "query", "document"),
    [
        ("nomic-embed-text:latest", "search_query: ", "search_document: "),
        ("hf.co/nomic-ai/nomic-embed-text-v2-moe-GGUF:Q8_0", "search_query: ", "search_document: "),
        ("jeffh/intfloat-multilingual-e5-small:f16", "query: ", "passage: "),
        ("e5-base-v2", "query: ", "passage: "),
        ("multilingual-e5-large-instruct", f"{INSTRUCT}Query: ", ""),
        ("e5-mistral-7b-instruct", f"{INSTRUCT}Query: ", ""),
        ("bge-large", PASSAGES, ""),
        ("BAAI/bge-small-en-v1.5", PASSAGES, ""),
        ("bge-small-zh-v1.5", "为这个句子生成表示以用于检索相关文章\uff1a", ""),
        ("bge-m3:567m", "", ""),
        ("embeddinggemma:300m", "task: search result | query: ", "title: none | text: "),
        ("snowflake-arctic-embed:22m", PASSAGES, ""),
        ("snowflake-arctic-embed-m-v1.5", PASSAGES, ""),
        ("snowflake-arctic-embed2", "query: ", ""),
        ("qwen3-embedding:0.6b", f"{INSTRUCT}Query:", ""),
        ("dengcao/Qwen3-Embedding-4B:Q4_K_M", f"{INSTRUCT}Query:", ""),
        ("mxbai-embed-large", PASSAGES, ""),
        ("all-minilm", "", ""),
        ("smollm2", "", ""),
    ],
)
def test_prefixes_by_the_name_of_a_model(model: str, query: str, document: str) -> None:
    assert prefixes_of(model) == Prefixes(query, document)


@pytest.mark.parametrize(
    ("info", "query"),
    [
        ({"general.name": "Multilingual E5 Small"}, "query: "),
        ({"general.basename": "nomic-embed-text", "general.version": "v1.5"}, "search_query: "),
        ({"general.name": "snowflake_arctic_embed_l", "general.version": "v2.0"}, "query: "),
        ({"general.architecture": "gemma-embedding"}, "task: search result | query: "),
        ({"general.architecture": "nomic-bert-moe"}, "search_query: "),
        ({"general.architecture": "bert"}, ""),
    ],
)
def test_a_renamed_model_is_known_by_its_file(info: dict[str, str], query: str) -> None:
    assert prefixes_of("mine", {"model_info": info}).query == query


def test_the_file_takes_precedence_over_the_name() -> None:
    shown = {"model_info": {"general.name": "all-MiniLM-L6-v2"}}
    assert prefixes_of("like-nomic-embed-text", shown) == Prefixes()
    made = {"details": {"parent_model": "nomic-embed-text:latest"}}
    assert prefixes_of("mine", made).document == "search_document: "


def test_each_rule_names_its_source() -> None:
    assert all(rule.source.startswith("https://") for rule in RULES)
    assert all(re.compile(rule.pattern) for rule in RULES)
    assert rule_of("unknown") is None


class _Show(row_server._Handler):
    info: dict[str, Any] = {"general.name": "nomic-embed-text-v1.5"}

    def post(self) -> None:
        self.finish({"model_info": self.info, "capabilities": ["embedding"]})


@pytest.fixture
def served(serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> row_server.RowServer:
    """A server with a model of which only the file tells that it is nomic's."""
    server = row_server.RowServer()
    server.models = [{"name": "mine:latest", "digest": "e" * 64, "capabilities": ["embedding"]}]
    application = row_server.application(server)
    application.add_handlers(".*", [("/api/show", _Show, {"server": server})])
    monkeypatch.setenv("JUPYTER_OLLAMA_URL", serve(application))
    return server


def inputs(server: row_server.RowServer) -> list[str]:
    return [text for body in server.bodies for text in body["input"]]


def test_embed_sends_the_prefix_of_the_kind(served: row_server.RowServer) -> None:
    TEXTS.ollama.embed()
    TEXTS.ollama.embed(kind="document")
    TEXTS.ollama.embed(kind="query")
    TEXTS.ollama.embed(kind="query", prefix="> ")
    expected = [
        f"{before}{text}"
        for before in ("", "search_document: ", "search_query: ", "> ")
        for text in ("water", "sun")
    ]
    assert inputs(served) == expected


def test_similar_sends_the_prefixes(served: row_server.RowServer) -> None:
    TEXTS.ollama.similar("rain")
    assert inputs(served) == [
        "search_document: water",
        "search_document: sun",
        "search_query: rain",
    ]
    served.bodies.clear()
    vectors = TEXTS.ollama.embed(kind="document")
    vectors.ollama.similar("rain", prefix="")
    assert inputs(served)[-1] == "rain"


def test_answers_of_one_prefix_are_not_taken_for_those_of_another() -> None:
    assert Embed("m").identity() == ["embed", None]
    assert Embed("m", prefix="query: ").identity() != Embed("m").identity()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TEXTS.ollama.embed(kind="passage"), 'kind is "query", "document" or None'),
        (lambda: TEXTS.ollama.embed(prefix=3), "prefix is a text, not int"),
        (lambda: TEXTS.ollama.similar("x", prefix=3), "prefix is a text, not int"),
    ],
)
def test_wrong_kinds(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(OllamaMagicsError, match=message):
        call()
