"""The same questions for the parts of data that is larger than one machine or memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from . import accessor  # noqa: F401
from .failures import OllamaMagicsError
from .plan import Plan

QUESTIONS = ("chat", "classify", "embed", "extract")


class OllamaRows:
    """A question of ``.ollama`` as a function of a part: a Series or DataFrame of pandas.

    ``OllamaRows("classify", ["a", "b"], "text", into="label")`` asks what
    ``part.ollama.classify(["a", "b"], "text", into="label")`` asks. It can be pickled and sent to
    workers. Their environment tells the server, or ``endpoints`` does, over which the rows are
    spread. Tokens stay in the environment of the workers; ``token_variable`` names the variable.
    """

    def __init__(
        self,
        question: str,
        *arguments: Any,
        endpoints: Sequence[str] = (),
        token_variable: str | None = None,
        **keywords: Any,
    ) -> None:
        if question not in QUESTIONS:
            raise OllamaMagicsError(f"The question is one of {', '.join(QUESTIONS)}.")
        self._question = question
        self._arguments = arguments
        self._keywords = keywords
        self._endpoints = tuple(endpoints)
        self._token_variable = token_variable

    def __call__(self, part: Any) -> Any:
        """Return the result for a part."""
        return self._plan(part).run(progress=False)

    def meta(self, sample: Any) -> Any:
        """Return the empty result for data like ``sample``.

        Only the size of vectors has to be asked for: with the first row of ``sample``.
        """
        if self._question == "embed":
            return self(sample.iloc[:1]).iloc[:0]
        return self._plan(sample).empty()

    def like(self, part: Any, meta: Any) -> Any:
        """Return the result for a part with the columns and types of ``meta``.

        A part without any vector cannot know their size.
        """
        result = self(part)
        if isinstance(meta, pd.Series):
            return result if result.dtype == meta.dtype else result.astype(meta.dtype)
        if list(result.columns) != list(meta.columns):
            result = result.reindex(columns=meta.columns)
        kinds = {name: kind for name, kind in meta.dtypes.items() if result[name].dtype != kind}
        return result.astype(kinds)

    def _plan(self, part: Any) -> Plan:
        rows = part.ollama
        if self._endpoints:
            rows = rows.at(*self._endpoints, token_variable=self._token_variable)
        plan: Plan = getattr(rows.planned(), self._question)(*self._arguments, **self._keywords)
        return plan
