"""What a server is asked about each row, and what is made of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from . import embed
from .errors import OllamaResponseError
from .failures import OllamaMagicsError
from .schema import schema_of, wanted_value

if TYPE_CHECKING:
    from .dispatch import Dispatcher

IN_FLIGHT = 20
"""Rows asked about at once: the 16 that a server runs by default, and some that wait their turn
so that no place stays empty."""

EMBED_IN_FLIGHT = 2
"""Requests of many texts each: one is computed while the other is on its way."""

NO_SCORE = "probabilities=True needs /api/score, which this server does not have."


class Task(Protocol):
    """One kind of question. Rows are texts; equal texts get equal answers."""

    model: str
    in_flight: int

    def identity(self) -> list[Any]:
        """Return all that the answers depend on, besides the model's digest and the text."""

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Split texts into those of one request each."""

    async def ask(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return an answer for each text: a text, a list of numbers or a float32 array.

        Raises OllamaClientError or ValueError.
        """

    def read(self, answer: Any) -> Any:
        """Return what an answer means. Raises ValueError."""


@dataclass
class Chat:
    """The answer of a model to each text, read by ``parse``, which may raise ValueError."""

    model: str
    system: str | None
    options: dict[str, Any] | None
    format: dict[str, Any] | None = None
    parse: Callable[[str], Any] = str
    in_flight: int = IN_FLIGHT

    def identity(self) -> list[Any]:
        """Return all that the answers depend on."""
        return ["chat", self.system, self.options, self.format]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Put each text into a request of its own."""
        return ([text] for text in texts)

    async def ask(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the answer to the only text."""
        body = {
            "model": self.model,
            "messages": messages(self.system, texts[0]),
            "format": self.format,
            "options": self.options,
            "stream": False,
        }
        answer = await http.call("/api/chat", body)
        if self.format and answer.get("done_reason") == "length":
            raise ValueError("the answer was cut off; a larger num_predict or num_ctx may help")
        return [(answer.get("message") or {}).get("content") or ""]

    def read(self, answer: Any) -> Any:
        """Return the value that the answer is read as."""
        return self.parse(answer)


@dataclass
class Score:
    """How likely a model takes each label to be its answer to each text.

    ``before`` and ``after`` are what the model reads around the text.
    """

    model: str
    before: str
    after: str
    labels: list[str]
    options: dict[str, Any] | None
    in_flight: int = IN_FLIGHT

    def identity(self) -> list[Any]:
        """Return all that the answers depend on."""
        return ["score", self.before, self.after, self.labels, self.options]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Put each text into a request of its own."""
        return ([text] for text in texts)

    async def ask(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the probabilities of the labels for the only text."""
        body = {
            "model": self.model,
            "prompt": self.before + texts[0] + self.after,
            "continuations": self.labels,
            "options": self.options,
        }
        try:
            answer = await http.call("/api/score", body)
        except OllamaResponseError as error:
            if error.status in (404, 405):
                raise OllamaMagicsError(NO_SCORE) from None
            raise
        return [[one["probability"] for one in answer["results"]]]

    def read(self, answer: Any) -> Any:
        """Return the probabilities as they are."""
        return answer


@dataclass
class Embed:
    """The vector of each text."""

    model: str
    dimensions: int | None = None
    in_flight: int = EMBED_IN_FLIGHT

    def identity(self) -> list[Any]:
        """Return all that the answers depend on."""
        return ["embed", self.dimensions]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Put as many texts into a request as %embed does."""
        return embed.batches(texts)

    async def ask(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return a vector for each text."""
        body = {"model": self.model, "input": texts, "dimensions": self.dimensions}
        vectors = (await http.embed(body))["embeddings"]
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise ValueError(f"{self.model} did not answer with one vector for each text")
        return list(vectors)

    def read(self, answer: Any) -> Any:
        """Return the vector as it is."""
        return answer


def messages(system: str | None, text: str) -> list[dict[str, str]]:
    """Return a conversation whose first message is the same for all rows."""
    first = [{"role": "system", "content": system}] if system else []
    return [*first, {"role": "user", "content": text}]


def quoted(label: str) -> str:
    """Return a label as the JSON that a constrained answer holds."""
    return json.dumps(label, ensure_ascii=False)


def json_schema(schema: Any) -> dict[str, Any]:
    """Return the JSON schema of a type; a dict is one. Raises OllamaMagicsError."""
    format = dict(schema) if isinstance(schema, dict) else schema_of(schema)
    if not format:
        raise OllamaMagicsError("schema is a dict, a pydantic model, a dataclass or a type.")
    return format


def parser(schema: Any) -> Callable[[str], Any]:
    """Return what reads an answer as a value of ``schema``."""

    def parse(answer: str) -> Any:
        try:
            return wanted_value(schema, json.loads(answer))
        except (TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"the answer does not fit the schema: {error}") from None

    return parse


def one_of(labels: Collection[str]) -> Callable[[str], str]:
    """Return what reads an answer as one of ``labels``."""

    def parse(answer: str) -> str:
        label = str(json.loads(answer))
        if label not in labels:
            raise ValueError(f"the answer is none of the labels: {label}")
        return label

    return parse
