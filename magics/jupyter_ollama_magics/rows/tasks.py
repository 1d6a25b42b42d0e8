"""The requests of rows: chat and embed, and the parsing of their responses; see `score_tasks`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .. import embed
from ..failures import OllamaMagicsError
from ..schema import schema_of, typed_value
from ..schema_check import check_schema

if TYPE_CHECKING:
    from .dispatch import Dispatcher

IN_FLIGHT = 20
"""Requests at a time: the 16 that a server runs by default, and 4 in its queue, so that no slot
stays idle."""

EMBED_IN_FLIGHT = 2
"""Requests of many texts each: one is computed while the next is transferred."""

NO_SCORE = "probabilities=True needs /api/score, which this server does not have."

NO_PROBABILITIES = (
    "this server has no /api/score, so the model answers with one of the choices and the "
    "probabilities are missing."
)

Turns = Sequence[tuple[str, str]]
"""Earlier questions and their answers, which a model takes for examples."""


class Task(Protocol):
    """A kind of request. Rows are texts; equal texts get equal answers."""

    model: str
    in_flight: int

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on, besides the model's digest and the text."""

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Split texts into requests."""

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the raw answer to each text: a text, a list of numbers or a float32 array.

        Raises OllamaClientError or ValueError.
        """

    def parse(self, answer: Any) -> Any:
        """Return the value of a raw answer. Raises ValueError."""


@dataclass
class Chat:
    """The answer of a model to each text, parsed by ``parser``, which may raise ValueError."""

    model: str
    system: str | None
    options: dict[str, Any] | None
    format: dict[str, Any] | None = None
    parser: Callable[[str], Any] = str
    turns: Turns = ()
    in_flight: int = IN_FLIGHT

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return ["chat", self.system, self.options, self.format, *self.turns]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Put each text into a request of its own."""
        return ([text] for text in texts)

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return the answer to the only text."""
        return [await self.ask(http, messages(self.system, texts[0], self.turns))]

    async def ask(self, http: Dispatcher, conversation: Sequence[Mapping[str, Any]]) -> str:
        """Return the answer to the last of the messages."""
        body = {
            "model": self.model,
            "messages": conversation,
            "format": self.format,
            "options": self.options,
            "stream": False,
        }
        answer = await http.call("/api/chat", body)
        if self.format and answer.get("done_reason") == "length":
            raise ValueError("the answer was cut off; a larger num_predict or num_ctx may help")
        return (answer.get("message") or {}).get("content") or ""

    def parse(self, answer: Any) -> Any:
        """Return the parsed answer."""
        return self.parser(answer)


@dataclass
class Embed:
    """The vector of each text; ``prefix`` is sent before each."""

    model: str
    dimensions: int | None = None
    prefix: str = ""
    in_flight: int = EMBED_IN_FLIGHT

    def identity(self) -> list[Any]:
        """Return the values that the answers depend on."""
        return ["embed", self.dimensions, *filter(None, [self.prefix])]

    def batches(self, texts: list[str]) -> Iterable[list[str]]:
        """Split texts into requests as %embed does."""
        return embed.batches(texts)

    async def send(self, http: Dispatcher, texts: list[str]) -> list[Any]:
        """Return a vector for each text."""
        texts = [self.prefix + text for text in texts]
        body = {"model": self.model, "input": texts, "dimensions": self.dimensions}
        vectors = (await http.embed(body))["embeddings"]
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise ValueError(f"{self.model} did not answer with one vector for each text")
        return list(vectors)

    def parse(self, answer: Any) -> Any:
        """Return the vector unchanged."""
        return answer


def messages(system: str | None, text: str, turns: Turns = ()) -> list[dict[str, str]]:
    """Return a conversation that ends with a text.

    The messages before it, a system message and the turns, are equal for all rows: a server reads
    them once.
    """
    found = [{"role": "system", "content": system}] if system else []
    for question, answer in turns:
        found += [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    return [*found, {"role": "user", "content": text}]


def warn_of_no_probabilities(operator: str) -> None:
    """Warn that the answers of a call have no probabilities."""
    warnings.warn(f"{operator}: {NO_PROBABILITIES}", stacklevel=2)


def quoted(label: str) -> str:
    """Return a label as the JSON string of a constrained answer."""
    return json.dumps(label, ensure_ascii=False)


def json_schema(schema: Any) -> dict[str, Any]:
    """Return the JSON schema of a type; a dict is one. Raises OllamaMagicsError."""
    try:
        format = dict(schema) if isinstance(schema, Mapping) else schema_of(schema)
    except OllamaMagicsError:
        raise
    except Exception as error:  # of pydantic, or of an undefined name in an annotation
        reason = " ".join(str(error).split())
        raise OllamaMagicsError(f"schema cannot be a JSON schema: {reason}") from error
    if not format:
        raise OllamaMagicsError("schema is a dict, a pydantic model, a dataclass or a type.")
    check_schema(format)
    return format


def parser(schema: Any) -> Callable[[str], Any]:
    """Return a function that parses an answer as a value of ``schema``."""

    def parse(answer: str) -> Any:
        try:
            return typed_value(schema, json_value(answer))
        except (TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"the answer does not fit the schema: {error}") from None

    return parse


def json_value(answer: str) -> Any:
    """Return the JSON value of an answer. Raises ValueError for NaN and repeated names, too."""
    return json.loads(answer, parse_constant=_reject_constant, object_pairs_hook=_unique_names)


def _reject_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("the answer has a name twice")
    return members


def one_of(labels: Collection[str]) -> Callable[[str], str]:
    """Return a function that parses an answer as one of ``labels``."""

    def parse(answer: str) -> str:
        label = str(json.loads(answer))
        if label not in labels:
            raise ValueError(f"the answer is not one of the labels: {label}")
        return label

    return parse
