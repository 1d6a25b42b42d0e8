"""``filter``: the rows of which a sentence is true."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import prompt as row_prompt
from ..rows import tasks as row_tasks
from ..rows.registry import Operator, PromptedOperator, RowOperator, row_operator
from ..rows.tasks import Task
from ..servers import Servers
from . import score_tasks
from .checks import GREEDY, check_choice, check_settings, check_threshold

FILTER = "Decide whether a statement about the text is true. Answer yes or no and nothing else."
FORMAT = {"type": "string", "enum": ["yes", "no"]}
HALF = 0.5
NO_THRESHOLD = "threshold needs probabilities, which come from /api/score: this server lacks it."

Value = float | bool
"""The probability of yes, or the answer of a server that gives no probabilities."""


@row_operator
def filter(
    *,
    threshold: float = HALF,
    returns: Literal["rows", "mask", "probability"] = "rows",
    examples: Sequence[tuple[Any, Any]] = (),
    system: str | None = None,
    options: dict[str, Any] | None = None,
) -> Operator:
    """Return the rows of which the sentence ``prompt`` is true, such as "{text} is a complaint".

    The probability weighs "yes" against "no" in the model's own chat format, from
    ``/api/score``. A server without it, such as Ollama, answers yes or no without a probability.

    Parameters
    ----------
    threshold : float
        The least probability of a row to be returned, from 0 to 1.
    returns : {"rows", "mask", "probability"}
        "rows" returns the rows of the data, "mask" whether each row is one of them, "probability"
        the probability of each row (NaN without ``/api/score``).
    examples : list of (row, bool), optional
        Rows with the answers that they should get; see ``chat``.
    system : str, optional
        The instruction before the statement.
    options : dict, optional
        Options of the request, such as ``{"num_ctx": 8192}``.

    Returns
    -------
    Series or DataFrame
        The rows of the data, with their index. With ``into``, the column has the probability; with
        ``errors="column"``, rows that fail are among them. With ``returns="mask"`` a Series of
        boolean, with "probability" one of float64.

    Examples
    --------
    >>> notes = pd.Series(["It broke after a day, I want my money back", None, "It is blue"])
    >>> kept = notes.ollama.filter("{text} is a complaint", "smollm2", threshold=0)
    >>> kept.index.tolist()
    [0, 2]
    >>> notes.ollama.filter("{text} is a complaint", "smollm2", returns="mask").isna().tolist()
    [False, True, False]
    """
    check_settings(system, options)
    check_choice("returns", returns, ("rows", "mask", "probability"))
    least = check_threshold(threshold)
    pairs = row_prompt.pairs(examples)
    options = GREEDY | (options or {})

    def is_true(value: Value) -> bool:
        return value if isinstance(value, bool) else value >= least

    def columns(values: Sequence[Any], index: pd.Index, name: Any) -> pd.Series:
        if returns == "mask":
            mask = [None if value is None else is_true(value) for value in values]
            return pd.Series(mask, index=index, name=name, dtype="boolean")
        odds = [math.nan if value is None or isinstance(value, bool) else value for value in values]
        return pd.Series(odds, index=index, name=name, dtype="float64")

    def build(prompt: row_prompt.RowPrompt) -> RowOperator:
        turns = row_prompt.turns(prompt, pairs, _yes_or_no)
        head = f"{system or FILTER}\n\nStatement: {prompt.sentence}"

        def task(servers: Servers, model: str) -> Task:
            if servers.can_score(model):
                answers = score_tasks.YES_AND_NO
                return score_tasks.Score(model, head, answers, options, score_tasks.yes, turns)
            if least != HALF:
                raise OllamaMagicsError(NO_THRESHOLD)
            if returns == "probability":
                row_tasks.warn_of_no_probabilities("filter")
            return row_tasks.Chat(model, head, options, FORMAT, _parsed, turns)

        keep = is_true if returns == "rows" else None
        return RowOperator("completion", task, columns, keep=keep, verdict=is_true)

    return PromptedOperator(build, is_sentence=True)


def _parsed(answer: str) -> bool:
    return row_tasks.one_of(FORMAT["enum"])(answer) == "yes"


def _yes_or_no(answer: Any) -> str:
    if isinstance(answer, str) and answer.strip().lower() in ("yes", "no"):
        return answer.strip().lower()
    if pd.api.types.is_bool(answer):
        return "yes" if answer else "no"
    raise OllamaMagicsError("The answer of an example of filter is True or False.")
