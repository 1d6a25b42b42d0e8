"""The prefixes that embedding models expect before queries and documents.

A model that was trained with prefixes ranks worse without them. The table has one rule for each
family, with the model card that states its prefixes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .failures import OllamaMagicsError

KINDS = ("query", "document")
TASK = "Given a web search query, retrieve relevant passages that answer the query"
"""The task of the instructions of models that take any; the one of their model cards."""


@dataclass(frozen=True)
class Prefixes:
    """The texts before a query and before a document; "" for none."""

    query: str = ""
    document: str = ""

    def of(self, kind: str | None) -> str:
        """Return the prefix of a kind of text: "query", "document" or None for bare texts."""
        return "" if kind is None else str(getattr(self, kind))


@dataclass(frozen=True)
class Rule:
    """The prefixes of the models whose name matches ``pattern``, from the card at ``source``."""

    pattern: str
    prefixes: Prefixes
    source: str


NONE = Prefixes()
_PASSAGES = Prefixes("Represent this sentence for searching relevant passages: ")
_INSTRUCTED = Prefixes(f"Instruct: {TASK}\nQuery: ")
_CARDS = "https://huggingface.co/"

RULES = (
    Rule(
        r"nomic-embed-code",
        Prefixes("Represent this query for searching relevant code: "),
        f"{_CARDS}nomic-ai/nomic-embed-code",
    ),
    Rule(
        r"nomic-embed",
        Prefixes("search_query: ", "search_document: "),
        f"{_CARDS}nomic-ai/nomic-embed-text-v1.5",
    ),
    Rule(
        r"e5-mistral|e5-(small|base|large)-instruct",
        _INSTRUCTED,
        f"{_CARDS}intfloat/multilingual-e5-large-instruct",
    ),
    Rule(
        r"(^|[-_/])e5-(small|base|large)",
        Prefixes("query: ", "passage: "),
        f"{_CARDS}intfloat/multilingual-e5-small",
    ),
    Rule(r"bge-m3|bge-reranker", NONE, f"{_CARDS}BAAI/bge-m3"),
    Rule(
        r"bge-(small|base|large)-zh",
        Prefixes("为这个句子生成表示以用于检索相关文章\uff1a"),
        f"{_CARDS}BAAI/bge-large-zh-v1.5",
    ),
    Rule(r"bge-(small|base|large)", _PASSAGES, f"{_CARDS}BAAI/bge-small-en-v1.5"),
    Rule(
        r"embedding-?gemma|gemma-embedding",
        Prefixes("task: search result | query: ", "title: none | text: "),
        "https://ai.google.dev/gemma/docs/embeddinggemma/model_card",
    ),
    Rule(
        r"(snowflake-)?arctic-embed.*(2$|v2|2\.0)",
        Prefixes("query: "),
        f"{_CARDS}Snowflake/snowflake-arctic-embed-l-v2.0",
    ),
    Rule(r"arctic-embed", _PASSAGES, f"{_CARDS}Snowflake/snowflake-arctic-embed-m-v1.5"),
    Rule(
        r"qwen3-(vl-)?embedding",
        Prefixes(f"Instruct: {TASK}\nQuery:"),
        f"{_CARDS}Qwen/Qwen3-Embedding-0.6B",
    ),
    Rule(r"mxbai-embed", _PASSAGES, f"{_CARDS}mixedbread-ai/mxbai-embed-large-v1"),
    Rule(r"all-minilm", NONE, f"{_CARDS}sentence-transformers/all-MiniLM-L6-v2"),
    Rule(
        r"paraphrase-multilingual",
        NONE,
        f"{_CARDS}sentence-transformers/paraphrase-multilingual-mpnet-base-v2",
    ),
    Rule(r"granite-embedding", NONE, f"{_CARDS}ibm-granite/granite-embedding-278m-multilingual"),
)
"""The rules; the first one that matches is used."""

_ARCHITECTURES = {"gemma-embedding": "embeddinggemma", "nomic-bert-moe": "nomic-embed-text-v2-moe"}
"""Names of models by the architectures that only they have."""


def check_kind(kind: Any, prefix: Any = None) -> None:
    """Raise OllamaMagicsError for another kind of text, or a prefix that is not a text."""
    if kind is not None and kind not in KINDS:
        raise OllamaMagicsError('kind is "query", "document" or None for texts without a prefix.')
    if not isinstance(prefix, str | None):
        raise OllamaMagicsError(f"prefix is a text, not {type(prefix).__name__}.")


def rule_of(model: str, shown: Mapping[str, Any] | None = None) -> Rule | None:
    """Return the rule of a model, None if no rule matches.

    Parameters
    ----------
    model : str
        The name of the model on the server.
    shown : mapping, optional
        The answer of ``/api/show``. The names that the file has of itself take precedence over the
        name on the server, which a user may choose freely.
    """
    for name in _names(model, shown or {}):
        for rule in RULES:
            if re.search(rule.pattern, name):
                return rule
    return None


def prefixes_of(model: str, shown: Mapping[str, Any] | None = None) -> Prefixes:
    """Return the prefixes of a model; none for a model that no rule matches."""
    rule = rule_of(model, shown)
    return rule.prefixes if rule else NONE


def _names(model: str, shown: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of a model, the most certain first."""
    info = shown.get("model_info") or {}
    texts = [info.get(f"general.{key}") for key in ("basename", "name")]
    # The size label tells small models from large ones, "v2" tells versions.
    version = info.get("general.version")
    details = shown.get("details") or {}
    architecture = str(info.get("general.architecture") or details.get("family") or "")
    for text in texts:
        if text:
            yield _plain(f"{text}-{version}" if version else str(text))
    yield _plain(model.rpartition("/")[2].partition(":")[0])
    yield _plain(str(details.get("parent_model") or "").rpartition("/")[2].partition(":")[0])
    yield _ARCHITECTURES.get(architecture, "")


def _plain(name: str) -> str:
    """Return a name in lower case with dashes in place of spaces and underscores."""
    return re.sub(r"[\s_]+", "-", name.strip()).lower()
