"""``.ollama`` on Series and DataFrames: models over rows.

Equal rows are asked about once, several at a time; the order and the index of the result are those
of the data, and missing values stay missing.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Self

import pandas as pd

from . import columns, groups, questions, row_texts
from .disk_cache import default_path
from .failures import OllamaMagicsError
from .plan import Errors, Plan
from .questions import Options, Question
from .servers import Servers
from .similar import nearest


class _Rows:
    """What both accessors can do; they differ in where the texts come from.

    All four questions take these arguments, too. ``prompt``: ``{column}`` in it is the row's value;
    of a Series it is ``{text}`` or ``{}``, and a prompt without such a field is put before the
    text. ``errors``: "raise" stops at the first row that fails, "coerce" leaves it missing,
    "column" tells of it in a column of its own. ``into`` names a column for the answers: the result
    is the DataFrame with it, or with ``into_name`` for each of several columns. ``cache``: answers
    are kept in a file, that of the user or the one that is named, and not asked for again.
    """

    _data: pd.Series | pd.DataFrame
    _servers: Callable[[], Servers] = staticmethod(Servers.find)
    _only_plans = False

    def at(self, *urls: str, token_variable: str | None = None) -> Self:
        """Return this with its questions spread over the servers at ``urls``.

        They need the same model. When one is lost, the others take what it had. Each gets the
        token that the environment has for its address, or all get the one in the environment
        variable that ``token_variable`` names.
        """
        other = copy.copy(self)
        other._servers = partial(Servers.at, urls, token_variable)
        return other

    def planned(self) -> Self:
        """Return this with questions that give their Plan and ask nothing."""
        other = copy.copy(self)
        other._only_plans = True
        return other

    def chat(
        self,
        prompt: str | None = None,
        model: str | None = None,
        *,
        schema: Any = None,
        system: str | None = None,
        options: Options = None,
        errors: Errors = "raise",
        into: str | None = None,
        cache: bool | str | Path = False,
    ) -> Any:
        """Return a model's answer to ``prompt`` for each row.

        ``schema`` (a dict, pydantic model or dataclass) makes the answers JSON, and the result a
        column of their values.
        """
        question = questions.chat(schema, system, options)
        return self._ask(question, prompt, model, errors, into, cache)

    def extract(
        self,
        schema: Any,
        prompt: str | None = None,
        model: str | None = None,
        *,
        system: str | None = None,
        options: Options = None,
        errors: Errors = "raise",
        into: str | None = None,
        cache: bool | str | Path = False,
    ) -> pd.DataFrame:
        """Return a column for each field of ``schema``, of its type, filled from each row's text.

        ``schema`` is a pydantic model, a dataclass or a JSON schema as a dict.
        """
        question = questions.extract(schema, system, options)
        frame: pd.DataFrame = self._ask(question, prompt, model, errors, into, cache)
        return frame

    def classify(
        self,
        labels: Iterable[Any],
        prompt: str | None = None,
        model: str | None = None,
        *,
        probabilities: bool = False,
        system: str | None = None,
        options: Options = None,
        errors: Errors = "raise",
        into: str | None = None,
        cache: bool | str | Path = False,
    ) -> Any:
        """Return the label that a model gives to each row, as a categorical column.

        The model can answer with nothing but a label. ``probabilities=True`` gives a column for
        each label instead, which needs a server with ``/api/score``.
        """
        question = questions.classify(labels, probabilities, system, options)
        return self._ask(question, prompt, model, errors, into, cache)

    def embed(
        self,
        prompt: str | None = None,
        model: str | None = None,
        *,
        dimensions: int | None = None,
        expand: bool = False,
        errors: Errors = "raise",
        into: str | None = None,
        cache: bool | str | Path = False,
    ) -> Any:
        """Return the vector of each row's text.

        The column holds float32 vectors: fixed-size lists of Arrow where pyarrow is installed, else
        NumPy arrays. ``expand=True`` gives a DataFrame with a column for each dimension.
        """
        question = questions.embed(dimensions, expand)
        return self._ask(question, prompt, model, errors, into, cache)

    async def achat(self, *arguments: Any, **more: Any) -> Any:
        """Do what ``chat`` does with the same arguments, awaited; no progress is shown."""
        return await _awaited(self.planned().chat, *arguments, **more)

    async def aextract(self, *arguments: Any, **more: Any) -> pd.DataFrame:
        """Do what ``extract`` does with the same arguments, awaited; no progress is shown."""
        frame: pd.DataFrame = await _awaited(self.planned().extract, *arguments, **more)
        return frame

    async def aclassify(self, *arguments: Any, **more: Any) -> Any:
        """Do what ``classify`` does with the same arguments, awaited; no progress is shown."""
        return await _awaited(self.planned().classify, *arguments, **more)

    async def aembed(self, *arguments: Any, **more: Any) -> Any:
        """Do what ``embed`` does with the same arguments, awaited; no progress is shown."""
        return await _awaited(self.planned().embed, *arguments, **more)

    def _ask(
        self,
        question: Question,
        prompt: str | None,
        model: str | None,
        errors: Errors,
        into: str | None,
        cache: bool | str | Path,
    ) -> Any:
        texts = self._texts(prompt)
        file = default_path() if cache is True else Path(cache) if cache else None
        plan = Plan(question, self._data, texts, self._servers, model, errors, into, file)
        return plan if self._only_plans else plan.run()

    def _texts(self, prompt: str | None) -> list[str | None]:
        raise NotImplementedError


async def _awaited(ask: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    plan: Plan = await asyncio.to_thread(ask, *arguments, **more)
    return await plan.run_async()


@pd.api.extensions.register_series_accessor("ollama")
class SeriesRows(_Rows):
    """Models over the texts of a Series."""

    def __init__(self, series: pd.Series) -> None:
        self._data: pd.Series = series

    def similar(self, query: str, k: int = 5, model: str | None = None) -> pd.DataFrame:
        """Return the ``k`` rows nearest to ``query`` and their cosine similarity, best first.

        The rows are texts, or vectors that ``embed`` made by the same model.
        """
        return nearest(columns.named_frame(self._data), self._data, query, k, model)

    def cluster(self, k: int = 8, model: str | None = None, *, seed: int = 0) -> pd.Series:
        """Return the number of the group of each row, 0 for the largest of ``k``.

        Rows are grouped by their meaning: k-means on the directions of their vectors. They are
        texts, or vectors that ``embed`` made.
        """
        return groups.cluster(self._data, k, model, seed)

    def map2d(
        self,
        model: str | None = None,
        *,
        k: int | None = None,
        plot: bool = False,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Return ``x`` and ``y`` of each row: what is alike in meaning is near on the plane.

        They are the two main components of the vectors. With ``k`` there is a column ``cluster``.
        ``plot=True`` draws them, too, which needs matplotlib.
        """
        return groups.map2d(self._data, model, k, plot, seed)

    def _texts(self, prompt: str | None) -> list[str | None]:
        if prompt is None:
            return row_texts.plain(self._data, ".ollama")
        fields = {"text": self._data, "": self._data}
        if isinstance(self._data.name, str):
            fields[self._data.name] = self._data
        return row_texts.filled(prompt, fields, "text")


@pd.api.extensions.register_dataframe_accessor("ollama")
class FrameRows(_Rows):
    """Models over the rows of a DataFrame. A prompt may also be the name of a column of texts."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._data: pd.DataFrame = frame

    def similar(
        self, query: str, column: Any, k: int = 5, model: str | None = None
    ) -> pd.DataFrame:
        """Return the ``k`` rows whose ``column`` is nearest to ``query``, best first.

        The column holds texts, or vectors that ``embed`` made by the same model.
        """
        return nearest(self._data, self._data[column], query, k, model)

    def _texts(self, prompt: str | None) -> list[str | None]:
        if prompt is None:
            raise OllamaMagicsError("Give a prompt with a {column} in it, or a column's name.")
        if prompt in self._data.columns:
            return row_texts.plain(self._data[prompt], ".ollama")
        fields = {str(name): self._data.iloc[:, at] for at, name in enumerate(self._data)}
        return row_texts.filled(prompt, fields, None)
