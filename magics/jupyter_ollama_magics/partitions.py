"""The row operators as functions of one part of data that exceeds one machine or memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from jupyter_ollama_client.credentials import hidden_in

from . import accessor  # noqa: F401 - adds .ollama
from .rows import columns
from .rows.plan import Plan
from .rows.registry import named


class OllamaRows:
    """A row operator of ``.ollama`` as a function of a Series or DataFrame of pandas.

    It can be pickled and sent to workers. Tokens stay in the environment of the workers.

    Parameters
    ----------
    operator : str
        The name of the operator, such as "classify".
    *arguments, **keywords
        The arguments of its method.
    endpoints : sequence of str
        The servers that share the rows. By default the environment of the worker names one.
    token_variable : str, optional
        The environment variable of the workers with the token of all servers.

    Raises
    ------
    OllamaMagicsError
        If there is no such operator.

    Examples
    --------
    >>> label = OllamaRows("classify", ["pet", "money"], "text", "smollm2", into="topic")
    >>> label(pd.DataFrame({"text": ["A cat sleeps", None]})).columns.tolist()
    ['text', 'topic']
    """

    def __init__(
        self,
        operator: str,
        /,
        *arguments: Any,
        endpoints: Sequence[str] = (),
        token_variable: str | None = None,
        **keywords: Any,
    ) -> None:
        self._operator = named(operator).name
        self._arguments = arguments
        self._keywords = keywords
        self._endpoints = tuple(map(hidden_in, endpoints))
        self._token_variable = token_variable

    def __call__(self, part: Any) -> Any:
        """Return the result for a part."""
        return self._plan(part).run(progress=False)

    def meta(self, sample: Any) -> Any:
        """Return the empty result for data like ``sample``.

        Where the columns depend on a response, as vectors do, the first row of ``sample`` is sent.
        """
        plan = self._plan(sample.iloc[:1])
        return plan.run(progress=False).iloc[:0] if plan.operator.columns_vary else plan.empty()

    def like(self, part: Any, meta: Any) -> Any:
        """Return the result for a part with the columns and types of ``meta``.

        A part without texts gives no vector, from which the length of vectors would follow.
        """
        result = self(part)
        if isinstance(meta, pd.Series):
            return result if result.dtype == meta.dtype else columns.cast(result, meta.dtype)
        if list(result.columns) != list(meta.columns):
            result = result.reindex(columns=meta.columns)
        dtypes = {name: dtype for name, dtype in meta.dtypes.items() if result[name].dtype != dtype}
        return columns.cast_each(result, dtypes)

    def _plan(self, part: Any) -> Plan:
        rows = part.ollama
        if self._endpoints:
            rows = rows.at(*self._endpoints, token_variable=self._token_variable)
        plan: Plan = rows.plan(self._operator, *self._arguments, **self._keywords)
        return plan
