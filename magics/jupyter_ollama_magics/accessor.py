"""``.ollama`` on Series and DataFrames: models over rows.

Equal rows are asked about once, several at a time; the order and the index of the result are those
of the data, and missing values stay missing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from . import columns, row_tasks, row_texts
from .failures import OllamaMagicsError
from .plan import Errors, Plan, Server
from .similar import nearest

GREEDY = {"temperature": 0}
EXTRACT = "Take what the schema asks for from the text. Answer in JSON. The schema:\n"
CLASSIFY = "Classify the text. Answer with one of these labels and nothing else: "


class _Rows:
    """What both accessors can do; they differ in where the texts come from."""

    _index: pd.Index
    _name: Any = None

    def _texts(self, prompt: str | None) -> list[str | None]:
        raise NotImplementedError

    def chat(
        self,
        prompt: str | None = None,
        model: str | None = None,
        *,
        schema: Any = None,
        system: str | None = None,
        options: dict[str, Any] | None = None,
        errors: Errors = "raise",
    ) -> Any:
        """Return a model's answer to ``prompt`` for each row.

        ``{column}`` in the prompt is the row's value; of a Series it is ``{text}`` or ``{}``, and a
        prompt without such a field is put before the text. ``schema`` (a dict, pydantic model or
        dataclass) makes the answers JSON, and the result a column of their values. ``errors``:
        "raise" stops at the first row that fails, "coerce" leaves it missing, "column" tells of it
        in a column of its own.
        """
        return self._chat(prompt, model, schema, system, options, errors).run()

    async def achat(self, prompt: str | None = None, model: str | None = None, **more: Any) -> Any:
        """Do what ``chat`` does with the same arguments, awaited; no progress is shown."""
        plan = await asyncio.to_thread(self._chat, prompt, model, **more)
        return await plan.run_async()

    def extract(
        self,
        schema: Any,
        prompt: str | None = None,
        model: str | None = None,
        *,
        system: str | None = None,
        options: dict[str, Any] | None = None,
        errors: Errors = "raise",
    ) -> pd.DataFrame:
        """Return a column for each field of ``schema``, of its type, filled from each row's text.

        ``schema`` is a pydantic model, a dataclass or a JSON schema as a dict.
        """
        frame: pd.DataFrame = self._extract(schema, prompt, model, system, options, errors).run()
        return frame

    def classify(
        self,
        labels: Iterable[Any],
        prompt: str | None = None,
        model: str | None = None,
        *,
        probabilities: bool = False,
        system: str | None = None,
        options: dict[str, Any] | None = None,
        errors: Errors = "raise",
    ) -> Any:
        """Return the label that a model gives to each row, as a categorical column.

        The model can answer with nothing but a label. ``probabilities=True`` gives a column for
        each label instead, which needs a server with ``/api/score``.
        """
        given = {str(label): label for label in labels}
        return self._classify(given, prompt, model, probabilities, system, options, errors).run()

    def embed(
        self,
        prompt: str | None = None,
        model: str | None = None,
        *,
        dimensions: int | None = None,
        expand: bool = False,
    ) -> Any:
        """Return the vector of each row's text.

        The column holds float32 vectors: fixed-size lists of Arrow where pyarrow is installed, else
        NumPy arrays. ``expand=True`` gives a DataFrame with a column for each dimension.
        """
        return self._embed(prompt, model, dimensions, expand).run()

    async def aembed(self, prompt: str | None = None, model: str | None = None, **more: Any) -> Any:
        """Do what ``embed`` does with the same arguments, awaited; no progress is shown."""
        plan = await asyncio.to_thread(self._embed, prompt, model, **more)
        return await plan.run_async()

    def _chat(
        self,
        prompt: str | None,
        model: str | None,
        schema: Any = None,
        system: str | None = None,
        options: dict[str, Any] | None = None,
        errors: Errors = "raise",
    ) -> Plan:
        texts, server = self._texts(prompt), Server.find()
        model = server.choose(model, "completion")
        task = row_tasks.Chat(model, system, options)
        column = columns.texts
        if schema is not None:
            task.format, task.parse = row_tasks.json_schema(schema), row_tasks.parser(schema)
            column = columns.objects
        return self._plan(server, model, task, texts, self._shaped(column), errors)

    def _extract(
        self,
        schema: Any,
        prompt: str | None,
        model: str | None,
        system: str | None,
        options: dict[str, Any] | None,
        errors: Errors,
    ) -> Plan:
        format = row_tasks.json_schema(schema)
        if "properties" not in format:
            raise OllamaMagicsError("extract wants a schema of an object with fields.")
        texts, server = self._texts(prompt), Server.find()
        model = server.choose(model, "completion")
        task = row_tasks.Chat(
            model, system or EXTRACT + json.dumps(format), GREEDY | (options or {}), format
        )
        check = row_tasks.parser(schema)

        def parse(answer: str) -> Any:
            # The column's type makes the value, but what the schema's owner refuses is an error.
            check(answer)
            return json.loads(answer)

        task.parse = parse
        return self._plan(
            server,
            model,
            task,
            texts,
            lambda values: columns.typed(values, format, self._index),
            errors,
        )

    def _classify(
        self,
        labels: dict[str, Any],
        prompt: str | None,
        model: str | None,
        probabilities: bool,
        system: str | None,
        options: dict[str, Any] | None,
        errors: Errors,
    ) -> Plan:
        if not labels:
            raise OllamaMagicsError("classify wants at least one label.")
        texts, server = self._texts(prompt), Server.find()
        model = server.choose(model, "completion")
        system = system or CLASSIFY + ", ".join(labels)
        options = GREEDY | (options or {})
        if probabilities:
            before, after = server.around(model, system)
            quoted = [row_tasks.quoted(label) for label in labels]
            score = row_tasks.Score(model, before, after, quoted, options)
            return self._plan(
                server, model, score, texts, lambda values: self._wide(values, labels), errors
            )
        format = {"type": "string", "enum": list(labels)}
        task = row_tasks.Chat(model, system, options, format, row_tasks.one_of(labels))
        return self._plan(
            server,
            model,
            task,
            texts,
            lambda values: columns.labels(values, labels, self._index, self._name),
            errors,
        )

    def _embed(
        self,
        prompt: str | None,
        model: str | None,
        dimensions: int | None = None,
        expand: bool = False,
    ) -> Plan:
        texts, server = self._texts(prompt), Server.find()
        model = server.choose(model, "embedding")
        task = row_tasks.Embed(model, dimensions)
        shape = self._expanded if expand else self._shaped(columns.vectors)
        return self._plan(server, model, task, texts, shape, "raise")

    def _plan(
        self,
        server: Server,
        model: str,
        task: row_tasks.Task,
        texts: list[str | None],
        shape: Callable[[list[Any]], Any],
        errors: Errors,
    ) -> Plan:
        return Plan(server.connection, model, task, texts, self._index, shape, errors)

    def _shaped(self, column: Callable[..., pd.Series]) -> Callable[[list[Any]], pd.Series]:
        return lambda values: column(values, self._index, self._name)

    def _wide(self, values: list[Any], labels: dict[str, Any]) -> pd.DataFrame:
        empty = [np.nan] * len(labels)
        rows = [empty if value is None else value for value in values]
        return pd.DataFrame(rows, self._index, list(labels.values()), dtype="float64")

    def _expanded(self, values: list[Any]) -> pd.DataFrame:
        size = next((len(value) for value in values if value is not None), 0)
        rows = np.full((len(values), size), np.nan, dtype=np.float32)
        for row, value in enumerate(values):
            if value is not None:
                rows[row] = value
        return pd.DataFrame(rows, self._index)


@pd.api.extensions.register_series_accessor("ollama")
class SeriesRows(_Rows):
    """Models over the texts of a Series."""

    def __init__(self, series: pd.Series) -> None:
        self._series = series
        self._index = series.index
        self._name = series.name

    def similar(self, query: str, k: int = 5, model: str | None = None) -> pd.DataFrame:
        """Return the ``k`` rows nearest to ``query`` and their cosine similarity, best first.

        The rows are texts, or vectors that ``embed`` made by the same model.
        """
        name = "text" if self._name is None else self._name
        return nearest(self._series.rename(name).to_frame(), self._series, query, k, model)

    def _texts(self, prompt: str | None) -> list[str | None]:
        if prompt is None:
            return row_texts.plain(self._series, ".ollama")
        fields = {"text": self._series, "": self._series}
        if isinstance(self._name, str):
            fields[self._name] = self._series
        return row_texts.filled(prompt, fields, "text")


@pd.api.extensions.register_dataframe_accessor("ollama")
class FrameRows(_Rows):
    """Models over the rows of a DataFrame. A prompt may also be the name of a column of texts."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._index = frame.index

    def similar(
        self, query: str, column: Any, k: int = 5, model: str | None = None
    ) -> pd.DataFrame:
        """Return the ``k`` rows whose ``column`` is nearest to ``query``, best first.

        The column holds texts, or vectors that ``embed`` made by the same model.
        """
        return nearest(self._frame, self._frame[column], query, k, model)

    def _texts(self, prompt: str | None) -> list[str | None]:
        if prompt is None:
            raise OllamaMagicsError("Give a prompt with a {column} in it, or a column's name.")
        if prompt in self._frame.columns:
            return row_texts.plain(self._frame[prompt], ".ollama")
        fields = {str(name): self._frame.iloc[:, at] for at, name in enumerate(self._frame)}
        return row_texts.filled(prompt, fields, None)
