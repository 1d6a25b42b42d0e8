"""The method ``rank`` of the accessors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..operators.checks import GREEDY, check_choice, check_settings
from ..operators.score import score
from ..rows import columns
from ..rows import prompt as row_prompt
from ..rows.disk_cache import default_path
from ..rows.plan import Plan
from ..rows.registry import RowOperator
from ..rows.sentences import fields_of, known_fields, sentence_and_template
from ..servers import Servers
from .pair_questions import PairQuestions, Remembering, pair_texts
from .steps import Steps, in_steps, with_twins
from .tournament import winners

FITS = "Say how far towards the beginning a text goes in an order, from 1 (end) to 5 (beginning)."
LEVELS = (1, 2, 3, 4, 5)


@with_twins
class Ranks:
    """``rank`` of Series and DataFrames."""

    _data: Any
    _servers: Callable[[], Servers]

    @in_steps
    def rank(
        self,
        order: str,
        k: int = 10,
        prompt: str | None = None,
        model: str | None = None,
        *,
        method: Literal["pairs", "score"] = "pairs",
        errors: Literal["raise", "coerce"] = "raise",
        into: str = "rank",
        options: dict[str, Any] | None = None,
        cache: bool | str | Path = False,
    ) -> Steps[pd.DataFrame]:
        """Return the first ``k`` rows in an order that is given in words, "most useful first".

        Pairs of rows are compared in a knock-out tournament: for n rows, at most
        n - 1 + (k - 1) · ⌈log2 n⌉ pairs instead of all. The model sees each pair in both orders, so
        that a liking for the first or the second text cancels out. Servers without ``/api/score``
        answer without probabilities: rows between which the orders disagree keep their places.

        Parameters
        ----------
        order : str
            The order in words. It may name the columns to compare: "most useful {review} first".
        k : int
            The number of rows.
        prompt : str, optional
            The text of a row, with ``{column}`` for values, or the name of a column of texts; by
            default the columns that ``order`` names, or the text of a Series.
        model : str, optional
            The model; by default the one of ``%ollama use``, else the only one on the server.
        method : {"pairs", "score"}
            "score" asks about each row alone, one request for each, and is less exact.
        errors : {"raise", "coerce"}
            Whether a request that fails stops the call, or does not count in its comparison.
        into : str
            The name of the column with the places, from 1.
        options : dict, optional
            Options of the requests, such as ``{"num_ctx": 8192}``.
        cache : bool, str or Path
            Keep the answers in a file and read known ones from it: in the user's cache folder
            (True), or in the file that is named.

        Returns
        -------
        DataFrame
            The rows, the first one first. ``attrs["rank"]`` is a dict with the numbers of "rows",
            of "calls" (requests that were sent), of "compared" pairs, of "all_pairs", of pairs in
            which the answers for both orders "disagreed", and of requests that "failed".

        Raises
        ------
        OllamaMagicsError
            If an argument is invalid, no server or model is found, or a request fails with
            ``errors="raise"``.
        RowsInterrupted
            If the kernel is interrupted. The same call continues with the remaining pairs.

        Examples
        --------
        >>> notes = pd.Series(["It is blue", "It broke twice", None, "Use it with gloves"])
        >>> best = notes.ollama.rank("most useful first", k=2, model="smollm2")
        >>> best["rank"].tolist(), best.attrs["rank"]["compared"] <= 3
        ([1, 2], True)
        """
        if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
            raise OllamaMagicsError("k is a positive integer, the number of rows.")
        check_choice("method", method, ("pairs", "score"))
        check_choice("errors", errors, ("raise", "coerce"))
        check_settings(None, options)
        if not isinstance(into, str):
            raise OllamaMagicsError(f"into is the name of a column, not {into!r}.")
        words, texts = self._ordered_texts(order, prompt)
        distinct = list(dict.fromkeys(text for text in texts if text is not None))
        settings = GREEDY | (options or {})
        file = _file(cache)

        def plan(operator: RowOperator, asked: Sequence[str]) -> Plan:
            rows = pd.Series(np.arange(len(asked)))
            return Plan(
                operator,
                rows,
                list(asked),
                self._servers,
                model=model,
                errors=errors,
                cache=file,
                name="rank",
            )

        ranked = _by_score if method == "score" else _by_pairs
        first, report = yield from ranked(words, distinct, int(k), settings, plan)
        return _shown(self._data, texts, [distinct[at] for at in first], int(k), into, report)

    def _ordered_texts(self, order: Any, prompt: str | None) -> tuple[str, list[str | None]]:
        """Return the order with the names of columns, and the text of each row."""
        if not isinstance(order, str) or not order.strip():
            raise OllamaMagicsError('The order is a text, such as "most useful first".')
        names = known_fields(order, fields_of(self._data))
        if prompt is None and names:
            order, prompt = sentence_and_template(order, self._data, article=False)
        return order, self._fill(self._data, prompt)

    def _fill(self, data: Any, prompt: str | None) -> list[str | None]:
        raise NotImplementedError


MakePlan = Callable[[RowOperator, Sequence[str]], Plan]
Ranked = Steps[tuple[list[int], dict[str, int]]]


def _by_pairs(
    order: str, texts: list[str], k: int, options: dict[str, Any], plan: MakePlan
) -> Ranked:
    questions = PairQuestions(order, options)
    rounds = winners(len(texts), k)
    verdicts: Any = None
    while texts:
        try:
            pairs = rounds.send(verdicts)
        except StopIteration as end:
            first: list[int] = end.value
            break
        leads = yield plan(questions.operator(), pair_texts(texts, pairs))
        verdicts = questions.verdicts(leads.tolist())
    else:
        first = []
    questions.finish()
    return first, {
        "rows": len(texts),
        "calls": questions.calls,
        "compared": questions.compared,
        "all_pairs": len(texts) * (len(texts) - 1) // 2,
        "disagreed": questions.disagreed,
        "failed": questions.failed,
    }


def _by_score(
    order: str, texts: list[str], k: int, options: dict[str, Any], plan: MakePlan
) -> Ranked:
    asked = score(levels=LEVELS, system=FITS, options=options)
    rows = pd.Series(texts, dtype=object)
    question = f"where in the order “{order}” is it?".replace("{", "{{").replace("}", "}}")
    operator, _ = row_prompt.resolved(asked, rows, question, lambda data, _: data.tolist())
    asked_for: list[Remembering] = []

    def counted(servers: Servers, model: str) -> Remembering:
        asked_for.append(Remembering(operator.task(servers, model), {}))
        return asked_for[-1]

    found = yield plan(replace(operator, task=counted), texts)
    values = found.to_numpy(float)
    failed = int(np.isnan(values).sum())
    first = np.argsort(-values, kind="stable")[: min(k, len(texts) - failed)].tolist()
    calls = sum(task.calls for task in asked_for)
    counts = {"rows": len(texts), "calls": calls, "compared": 0, "disagreed": 0}
    return first, counts | {"all_pairs": len(texts) * (len(texts) - 1) // 2, "failed": failed}


def _shown(
    data: Any,
    texts: Sequence[str | None],
    best: Sequence[str],
    k: int,
    into: str,
    report: dict[str, int],
) -> pd.DataFrame:
    """Return the rows with the best texts; equal texts are one after the other."""
    places: dict[str, list[int]] = {text: [] for text in best}
    for at, text in enumerate(texts):
        if text in places:
            places[text].append(at)
    chosen = [at for text in best for at in places[text]][:k]
    result = columns.named_frame(data).iloc[chosen]
    result = result.assign(**{into: np.arange(1, len(chosen) + 1)})
    result.attrs["rank"] = report
    return result


def _file(cache: Any) -> Path | None:
    if not isinstance(cache, bool | str | Path):
        raise OllamaMagicsError("cache is True, False or the name of a file.")
    return default_path() if cache is True else Path(cache) if cache else None
