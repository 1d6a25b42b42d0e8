"""The row operators: what each sends to a model, and the columns made of the responses.

``classify``, ``filter`` and ``score`` have modules of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, Literal

from ..failures import OllamaMagicsError
from ..prefixes import check_kind
from ..rows import columns
from ..rows import prompt as row_prompt
from ..rows import tasks as row_tasks
from ..rows.fields import Fields
from ..rows.registry import Operator, PromptedOperator, RowOperator, row_operator
from ..servers import Servers
from . import classify as classify_operator  # noqa: F401 - defines classify
from . import filter as filter_operator  # noqa: F401 - defines filter
from . import score as score_operator  # noqa: F401 - defines score
from .checks import GREEDY, check_settings
from .examples import answer_json

EXTRACT = "Take what the schema asks for from the text. Answer in JSON. The schema:\n"

Options = dict[str, Any] | None
Examples = Sequence[tuple[Any, Any]]


@row_operator
def chat(
    *,
    schema: Any = None,
    system: str | None = None,
    examples: Examples = (),
    options: Options = None,
) -> Operator:
    """Return a model's answer to ``prompt`` for each row.

    Parameters
    ----------
    schema : dict, pydantic model, dataclass or type, optional
        The JSON schema of the answers. The result then holds values of this type.
    system : str, optional
        The system message.
    examples : list of (row, answer), optional
        Rows with the answers that they should get. They are sent before each row as turns of the
        conversation, in the words of the prompt; the server reads them once. A row of a Series is a
        text, the value of a DataFrame a dict of the columns in the prompt.
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
    >>> known = [("Oslo", "Norway"), ("Cairo", "Egypt")]
    >>> cities.ollama.chat("Where is {city}?", "smollm2", examples=known).notna().tolist()
    [True, False, True]
    """
    check_settings(system, options)
    pairs = row_prompt.pairs(examples)
    format = None if schema is None else row_tasks.json_schema(schema)
    parse: Callable[[str], Any] = str if schema is None else row_tasks.parser(schema)
    write: Callable[[Any], str] = str if schema is None else answer_json(parse)

    def build(prompt: row_prompt.RowPrompt) -> RowOperator:
        turns = row_prompt.turns(prompt, pairs, write)
        return RowOperator(
            "completion",
            lambda servers, model: row_tasks.Chat(model, system, options, format, parse, turns),
            columns.texts if format is None else columns.objects,
        )

    return PromptedOperator(build)


@row_operator
def extract(
    schema: Any,
    *,
    system: str | None = None,
    examples: Examples = (),
    options: Options = None,
) -> Operator:
    """Return the fields of ``schema``, read by a model from each row's text.

    Parameters
    ----------
    schema : dict, pydantic model or dataclass
        A JSON schema of an object, or a type that has one.
    system : str, optional
        The system message; by default an instruction with the schema.
    examples : list of (row, answer), optional
        Rows with the fields that they should get, as a dict or an object of the schema's type; see
        ``chat``.
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
    check_settings(system, options)
    pairs = row_prompt.pairs(examples)
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

    def build(prompt: row_prompt.RowPrompt) -> RowOperator:
        turns = row_prompt.turns(prompt, pairs, answer_json(parse))
        return RowOperator(
            "completion",
            lambda servers, model: row_tasks.Chat(model, system, options, format, parse, turns),
            lambda values, index, name: columns.typed(values, fields.fields, index),
        )

    return PromptedOperator(build)


@row_operator
def embed(
    *,
    dimensions: int | None = None,
    kind: Literal["query", "document"] | None = None,
    prefix: str | None = None,
    expand: bool = False,
) -> RowOperator:
    """Return the vector of each row's text.

    Parameters
    ----------
    dimensions : int, optional
        The length to which the vectors are cut.
    kind : {"query", "document"}, optional
        What the texts are in a search. The prefix that the model expects before such texts is sent
        with each, such as "search_document: ". By default the texts are sent as they are.
    prefix : str, optional
        Send this text before each instead of the model's prefix.
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
    check_kind(kind, prefix)
    size = None if dimensions is None else int(dimensions)

    def task(servers: Servers, model: str) -> row_tasks.Task:
        before = servers.prefix(model, kind) if prefix is None else prefix
        return row_tasks.Embed(model, size, before)

    return RowOperator(
        "embedding",
        task,
        columns.expanded if expand else columns.vectors,
        columns_vary=True,
    )
