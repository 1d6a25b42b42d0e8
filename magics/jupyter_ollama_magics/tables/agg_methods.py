"""The method ``agg`` of the accessors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import columns
from ..rows import texts as row_texts
from ..rows.registry import RowOperator
from .aggregate import Aggregation, fields_of, group_numbers
from .call import TableCall, column_of
from .steps import Steps, in_steps, with_twins
from .summaries import Summary, totals


class _Aggregates(TableCall):
    def _aggregate(
        self,
        prompt: str,
        texts: Sequence[str | None],
        by: Any,
        model: str | None,
        options: Any,
        cache: bool | str | Path,
    ) -> Steps[Summary | pd.Series]:
        options = {"temperature": 0} | _checked(options)
        call = Aggregation(prompt, partial(_plan, self, model, cache), options)
        if by is None:
            found = yield from call.run({0: [text for text in texts if text is not None]})
            return found[0]
        numbers, index = group_numbers(self._data, by)
        groups: dict[Any, list[str]] = {number: [] for number in range(len(index))}
        for number, text in zip(numbers, texts, strict=True):
            if number >= 0 and text is not None:
                groups[number].append(text)
        found = yield from call.run(groups)
        name = self._data.name if isinstance(self._data, pd.Series) else "answer"
        answers = [str(one) if one.report["rows"] else None for one in found.values()]
        result = columns.texts(answers, index, name)
        result.attrs["agg"] = totals(found.values())
        return result


@with_twins
class SeriesAggregates(_Aggregates):
    """``agg`` of a Series."""

    @in_steps
    def agg(
        self,
        prompt: str,
        model: str | None = None,
        *,
        by: Any = None,
        options: dict[str, Any] | None = None,
        cache: bool | str | Path = False,
    ) -> Steps[Summary | pd.Series]:
        """Return one answer of a model about all rows, or one for each group of rows.

        Rows that do not fit one prompt are asked about in parts, in their order, and the answers
        are put together, in several levels if necessary. Every row is in one of the first prompts;
        a row that is longer than a prompt is split. The server counts the tokens where it has
        ``/api/tokenize``, else they are estimated with a margin. No prompt may be cut: one that the
        server finds too long is halved.

        Parameters
        ----------
        prompt : str
            What to do with the rows, such as "Summarise the complaints".
        model : str, optional
            The model; by default the one of ``%ollama use``, else the only one on the server.
        by : optional
            Groups, as ``groupby`` of pandas takes them (a Series, a function, a level), or a
            groupby. Rows without a group are a group, too.
        options : dict, optional
            Options of the requests. The temperature is 0 by default, ``num_ctx`` the context of
            the model as it is loaded, and ``num_predict`` an eighth of that, at most 512 tokens.
        cache : bool, str or Path
            Keep the answers in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        Summary, or Series of str with ``by``
            A Summary is a str with a dict ``report``: the numbers of "rows", "calls", "levels",
            "parts", of rows that were "split" and answers that were "cut", and whether tokens were
            "counted". The Series has the sums in ``attrs["agg"]``.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, no server or model is found, a request fails, or the context
            is too short for two answers.

        Examples
        --------
        >>> texts = pd.Series(["The soup was cold", None, "The waiter was rude"])
        >>> short = {"num_predict": 24}
        >>> summary = texts.ollama.agg("Summarise the complaints", "smollm2", options=short)
        >>> summary.report["rows"], summary.report["calls"]
        (2, 1)
        >>> groups = ["food", "food", "staff"]
        >>> texts.ollama.agg("Summarise", "smollm2", by=groups, options=short).index.tolist()
        ['food', 'staff']
        """
        name = self._data.name if isinstance(self._data.name, str) else None
        prompt, _ = fields_of(_text(prompt), [one for one in ("text", "", name) if one is not None])
        texts = row_texts.column_texts(self._data, ".ollama")
        return (yield from self._aggregate(prompt, texts, by, model, options, cache))


@with_twins
class FrameAggregates(_Aggregates):
    """``agg`` of a DataFrame."""

    @in_steps
    def agg(
        self,
        prompt: str,
        model: str | None = None,
        *,
        by: Any = None,
        options: dict[str, Any] | None = None,
        cache: bool | str | Path = False,
    ) -> Steps[Summary | pd.Series]:
        """Return one answer of a model about all rows, or one for each group of rows.

        It works like ``agg`` of a Series. The model reads the columns that the prompt names.

        Parameters
        ----------
        prompt : str
            What to do with the rows, with the columns that are read, such as "Summarise {text}".
        model : str, optional
            The model; by default the one of ``%ollama use``, else the only one on the server.
        by : optional
            Groups, as ``groupby`` of pandas takes them (the name of a column, a list of names), or
            a groupby. Rows without a group are a group, too.
        options : dict, optional
            Options of the requests. The temperature is 0 by default, ``num_ctx`` the context of
            the model as it is loaded, and ``num_predict`` an eighth of that, at most 512 tokens.
        cache : bool, str or Path
            Keep the answers in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        Summary, or Series of str with ``by``
            A Summary is a str with a dict ``report``. The Series has the sums of the reports in
            ``attrs["agg"]``.

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, no server or model is found, a request fails, or the context
            is too short for two answers.

        Examples
        --------
        >>> frame = pd.DataFrame({"city": ["Rome", "Oslo"], "text": ["Too hot", "Too dark"]})
        >>> prompt, short = "What is wrong? {text}", {"num_predict": 24}
        >>> answers = frame.ollama.agg(prompt, "smollm2", by="city", options=short)
        >>> answers.index.tolist(), answers.attrs["agg"]["calls"]
        (['Oslo', 'Rome'], 2)
        """
        names = [str(name) for name in self._data.columns]
        prompt, used = fields_of(_text(prompt), names)
        if not used:
            known = ", ".join(f"{{{name}}}" for name in names)
            raise OllamaMagicsError(f"The prompt names none of the columns: {known}.")
        chosen = [column_of(self._data.set_axis(names, axis=1), name) for name in used]
        rows = zip(*(column.tolist() for column in chosen), strict=True)
        missing = pd.concat(chosen, axis=1).isna().any(axis=1)
        texts = [None if no else _row(used, row) for no, row in zip(missing, rows, strict=True)]
        return (yield from self._aggregate(prompt, texts, by, model, options, cache))


def _plan(
    call: TableCall,
    model: str | None,
    cache: bool | str | Path,
    operator: RowOperator,
    texts: Sequence[str],
) -> Any:
    return call._plan_for(operator, texts, model, cache)


def _row(names: Sequence[str], values: Sequence[Any]) -> str:
    if len(names) == 1:
        return str(values[0])
    return "\n".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))


def _text(prompt: Any) -> str:
    if not isinstance(prompt, str) or not prompt.strip():
        raise OllamaMagicsError('prompt is a text, such as "Summarise the complaints".')
    return prompt


def _checked(options: Any) -> dict[str, Any]:
    """Return options with numbers of tokens that a tree of answers can use."""
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise OllamaMagicsError('options is a dict, such as {"num_predict": 200}.')
    for name in ("num_ctx", "num_predict"):
        value = options.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise OllamaMagicsError(f"{name} of agg is a positive integer, not {value!r}.")
    return options
