"""The row operators: what each sends to a model, and the columns made of the responses."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import pandas as pd
from jupyter_ollama_client.parameters import unknown

from . import columns, row_tasks
from .failures import OllamaMagicsError
from .fields import Fields
from .row_operator import RowOperator, row_operator
from .servers import Servers

GREEDY = {"temperature": 0}
EXTRACT = "Take what the schema asks for from the text. Answer in JSON. The schema:\n"
CLASSIFY = "Classify the text. Answer with one of these labels and nothing else: "

Options = dict[str, Any] | None


@row_operator
def chat(*, schema: Any = None, system: str | None = None, options: Options = None) -> RowOperator:
    """Return a model's answer to ``prompt`` for each row.

    Parameters
    ----------
    schema : dict, pydantic model, dataclass or type, optional
        The JSON schema of the answers. The result then holds values of this type.
    system : str, optional
        The system message.
    options : dict, optional
        Options of the request, such as ``{"temperature": 0}``.

    Returns
    -------
    Series of str, or of object with ``schema``
        A DataFrame with the columns "answer" and "error" with ``errors="column"``.

    Examples
    --------
    >>> cities = pd.Series(["Paris", None, "Rome"], name="city")
    >>> answers = cities.ollama.chat("Where is {city}?", "smollm2", options={"num_predict": 9})
    >>> answers.isna().tolist()
    [False, True, False]
    """
    _check(system, options)
    if schema is None:
        return RowOperator(
            "completion",
            lambda servers, model: row_tasks.Chat(model, system, options),
            columns.texts,
        )
    format, parse = row_tasks.json_schema(schema), row_tasks.parser(schema)
    return RowOperator(
        "completion",
        lambda servers, model: row_tasks.Chat(model, system, options, format, parse),
        columns.objects,
    )


@row_operator
def extract(schema: Any, *, system: str | None = None, options: Options = None) -> RowOperator:
    """Return the fields of ``schema``, read by a model from each row's text.

    Parameters
    ----------
    schema : dict, pydantic model or dataclass
        A JSON schema of an object, or a type that has one.
    system : str, optional
        The system message; by default an instruction with the schema.
    options : dict, optional
        Options of the request; the temperature is 0 by default.

    Returns
    -------
    DataFrame
        A column for each field, with the dtype of the field.

    Examples
    --------
    >>> schema = {"properties": {"stars": {"type": "integer"}, "mood": {"enum": ["good", "bad"]}}}
    >>> reviews = pd.Series(["Great, five stars", None])
    >>> frame = reviews.ollama.extract(schema, model="smollm2")
    >>> frame.dtypes.astype(str).to_dict()
    {'stars': 'Int64', 'mood': 'category'}
    """
    _check(system, options)
    format = row_tasks.json_schema(schema)
    fields = Fields.of(format)
    if not fields.fields:
        raise OllamaMagicsError("extract needs a schema of an object with fields.")
    check = row_tasks.parser(schema)
    system = system or EXTRACT + json.dumps(format)
    options = GREEDY | (options or {})

    def parse(answer: str) -> Any:
        # The column's value follows from the field's type; the validators of the schema's type
        # may still reject the answer.
        check(answer)
        return fields.parse(row_tasks.json_value(answer))

    return RowOperator(
        "completion",
        lambda servers, model: row_tasks.Chat(model, system, options, format, parse),
        lambda values, index, name: columns.typed(values, fields.fields, index),
    )


@row_operator
def classify(
    labels: Iterable[Any],
    *,
    probabilities: bool = False,
    system: str | None = None,
    options: Options = None,
) -> RowOperator:
    """Return the label that a model gives to each row; it can answer with nothing else.

    Parameters
    ----------
    labels : iterable
        The labels, in the order of the categories.
    probabilities : bool
        Return the probability of each label. The server needs ``/api/score``, which jupyter_ollama
        has and Ollama has not.
    system : str, optional
        The system message; by default an instruction with the labels.
    options : dict, optional
        Options of the request; the temperature is 0 by default.

    Returns
    -------
    Series of category, or DataFrame of float64 with ``probabilities``
        The DataFrame has a column for each label. With ``errors="column"``, a DataFrame with the
        columns "answer" and "error".

    Examples
    --------
    >>> reviews = pd.Series(["I love it", None, "It broke at once"], name="text")
    >>> labels = reviews.ollama.classify(["good", "bad"], model="smollm2")
    >>> labels.cat.categories.tolist()
    ['good', 'bad']
    >>> shares = reviews.ollama.classify(["good", "bad"], model="smollm2", probabilities=True)
    >>> shares.sum(axis=1).round(3).tolist()
    [1.0, 0.0, 1.0]
    """
    _check(system, options)
    given = _by_text(labels)
    system = system or CLASSIFY + ", ".join(given)
    options = GREEDY | (options or {})
    if probabilities:
        return _probabilities(given, system, options)
    format = {"type": "string", "enum": list(given)}
    parse = row_tasks.one_of(given)
    return RowOperator(
        "completion",
        lambda servers, model: row_tasks.Chat(model, system, options, format, parse),
        lambda values, index, name: columns.labels(values, given, index, name),
    )


def _by_text(labels: Iterable[Any]) -> dict[str, Any]:
    """Return the labels by their text. Raises OllamaMagicsError for invalid labels."""
    if isinstance(labels, str | bytes) or not isinstance(labels, Iterable):
        raise OllamaMagicsError('labels is a list, such as ["yes", "no"].')
    given: dict[str, Any] = {}
    for label in labels:
        if pd.api.types.is_scalar(label) and pd.isna(label):
            raise OllamaMagicsError("One of the labels is missing (NaN): leave it out by dropna().")
        text = str(label)
        if not text.strip():
            raise OllamaMagicsError("One of the labels is empty.")
        try:
            hash(label)
            alike = text in given and bool(given[text] != label)
            pd.Categorical([], categories=[*given.values(), label] if text not in given else [])
        except (TypeError, ValueError):
            alike = True
        if alike:
            raise OllamaMagicsError(f"The label {label!r} is like another, or not a single value.")
        given[text] = label
    if not given:
        raise OllamaMagicsError("classify needs at least one label.")
    return given


def _check(system: Any, options: Any) -> None:
    """Raise OllamaMagicsError for invalid values; warn of options that no server knows."""
    if system is not None and not isinstance(system, str):
        raise OllamaMagicsError(f"system is a text, not {type(system).__name__}.")
    if options is None:
        return
    try:
        named = isinstance(options, dict) and all(isinstance(name, str) for name in options)
        json.dumps(options)
    except (TypeError, ValueError):
        named = False
    if not named:
        raise OllamaMagicsError('options is a dict, such as {"temperature": 0.5}.')
    for warning in unknown(options):
        warnings.warn(f"{warning}.", stacklevel=2)


def _probabilities(given: dict[str, Any], system: str, options: dict[str, Any]) -> RowOperator:
    def task(servers: Servers, model: str) -> row_tasks.Task:
        before, after = servers.around(model, system)
        quoted = [row_tasks.quoted(label) for label in given]
        return row_tasks.Score(model, before, after, quoted, options)

    return RowOperator(
        "completion", task, lambda values, index, name: columns.probabilities(values, given, index)
    )


@row_operator
def embed(*, dimensions: int | None = None, expand: bool = False) -> RowOperator:
    """Return the vector of each row's text.

    Parameters
    ----------
    dimensions : int, optional
        The length to which the vectors are cut.
    expand : bool
        Return a DataFrame with a column for each dimension.

    Returns
    -------
    Series of float32 vectors, or DataFrame of float32 with ``expand``
        Vectors are fixed-size lists of Arrow where pyarrow is installed, else NumPy arrays. With
        ``errors="column"``, a DataFrame with the columns "answer" and "error".

    Examples
    --------
    >>> texts = pd.Series(["A cat sleeps", None, "Stocks fell"])
    >>> texts.ollama.embed(model="all-minilm", expand=True).shape
    (3, 384)
    """
    if dimensions is not None and (not isinstance(dimensions, Integral) or dimensions < 1):
        raise OllamaMagicsError("dimensions is a positive integer.")
    size = None if dimensions is None else int(dimensions)
    return RowOperator(
        "embedding",
        lambda servers, model: row_tasks.Embed(model, size),
        columns.expanded if expand else columns.vectors,
        columns_vary=True,
    )
