"""The questions that the accessors ask: what goes to a model, and what becomes of its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from . import columns, row_tasks
from .failures import OllamaMagicsError
from .servers import Servers

GREEDY = {"temperature": 0}
EXTRACT = "Take what the schema asks for from the text. Answer in JSON. The schema:\n"
CLASSIFY = "Classify the text. Answer with one of these labels and nothing else: "

Options = dict[str, Any] | None


@dataclass(frozen=True)
class Question:
    """What is asked about each row, of a model with a capability.

    ``task`` makes it known to the servers and the model that are found. ``columns`` makes a Series
    or DataFrame of an answer or None for each row, an index and a name.
    """

    capability: str
    task: Callable[[Servers, str], row_tasks.Task]
    columns: Callable[[list[Any], pd.Index, Any], Any]


def chat(schema: Any = None, system: str | None = None, options: Options = None) -> Question:
    """Ask for an answer, of ``schema`` if there is one."""
    if schema is None:
        return Question(
            "completion",
            lambda servers, model: row_tasks.Chat(model, system, options),
            columns.texts,
        )
    format, parse = row_tasks.json_schema(schema), row_tasks.parser(schema)
    return Question(
        "completion",
        lambda servers, model: row_tasks.Chat(model, system, options, format, parse),
        columns.objects,
    )


def extract(schema: Any, system: str | None = None, options: Options = None) -> Question:
    """Ask for the fields of ``schema``."""
    format = row_tasks.json_schema(schema)
    if "properties" not in format:
        raise OllamaMagicsError("extract wants a schema of an object with fields.")
    check = row_tasks.parser(schema)
    system = system or EXTRACT + json.dumps(format)
    options = GREEDY | (options or {})

    def parse(answer: str) -> Any:
        # The column's type makes the value, but what the schema's owner refuses is an error.
        check(answer)
        return json.loads(answer)

    return Question(
        "completion",
        lambda servers, model: row_tasks.Chat(model, system, options, format, parse),
        lambda values, index, name: columns.typed(values, format, index),
    )


def classify(
    labels: Iterable[Any],
    probabilities: bool = False,
    system: str | None = None,
    options: Options = None,
) -> Question:
    """Ask for one of ``labels``, or for how likely each is."""
    given = {str(label): label for label in labels}
    if not given:
        raise OllamaMagicsError("classify wants at least one label.")
    system = system or CLASSIFY + ", ".join(given)
    options = GREEDY | (options or {})
    if probabilities:
        return _odds(given, system, options)
    format = {"type": "string", "enum": list(given)}
    parse = row_tasks.one_of(given)
    return Question(
        "completion",
        lambda servers, model: row_tasks.Chat(model, system, options, format, parse),
        lambda values, index, name: columns.labels(values, given, index, name),
    )


def _odds(given: dict[str, Any], system: str, options: dict[str, Any]) -> Question:
    def task(servers: Servers, model: str) -> row_tasks.Task:
        before, after = servers.around(model, system)
        quoted = [row_tasks.quoted(label) for label in given]
        return row_tasks.Score(model, before, after, quoted, options)

    return Question(
        "completion", task, lambda values, index, name: columns.shares(values, given, index)
    )


def embed(dimensions: int | None = None, expand: bool = False) -> Question:
    """Ask for the vector."""

    def shape(values: list[Any], index: pd.Index, name: Any) -> Any:
        return columns.expanded(values, index) if expand else columns.vectors(values, index, name)

    return Question("embedding", lambda servers, model: row_tasks.Embed(model, dimensions), shape)
