"""``score``: how much of something the rows have, by the probabilities of levels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import prompt as row_prompt
from ..rows import tasks as row_tasks
from ..rows.registry import Operator, PromptedOperator, RowOperator, row_operator
from ..rows.tasks import Task
from ..servers import Servers
from . import score_tasks
from .checks import GREEDY, check_flags, check_settings, label_text, labels_by_text

SCORE = "Answer a question about the text with one of these levels and nothing else: "
LEVELS = (1, 2, 3, 4, 5)


@row_operator
def score(
    *,
    levels: Iterable[Any] = LEVELS,
    probabilities: bool = False,
    examples: Sequence[tuple[Any, Any]] = (),
    system: str | None = None,
    options: dict[str, Any] | None = None,
) -> Operator:
    """Return the expected level of each row for the question ``prompt``: "how urgent is {text}?".

    It is the mean of the levels, weighted by the probabilities that the model gives to them in
    ``/api/score``. A server without it, such as Ollama, answers with one of the levels.

    Parameters
    ----------
    levels : iterable, or dict of numbers
        The levels in ascending order. Numbers are their own values; words count 1, 2, 3 and so on,
        or have the values of a dict: ``{"low": 0, "high": 10}``.
    probabilities : bool
        Also return the probability of each level (NaN without ``/api/score``).
    examples : list of (row, level), optional
        Rows with the levels that they should get; see ``chat``.
    system : str, optional
        The instruction before the question.
    options : dict, optional
        Options of the request, such as ``{"num_ctx": 8192}``.

    Returns
    -------
    Series of float64, or DataFrame of float64 with ``probabilities``
        The DataFrame has the column "score" and one for each level. With ``errors="column"``, a
        DataFrame with the columns "answer" and "error".

    Examples
    --------
    >>> notes = pd.Series(["The server room is on fire", None, "Lunch is at noon"])
    >>> found = notes.ollama.score("how urgent is {text}?", "smollm2", levels=[1, 2, 3])
    >>> found.between(1, 3).tolist()
    [True, False, True]
    >>> words = ["low", "high"]
    >>> asked = notes.ollama.score("how urgent is it?", "smollm2", levels=words, probabilities=True)
    >>> asked.columns.tolist()
    ['score', 'low', 'high']
    """
    check_settings(system, options)
    check_flags(probabilities=probabilities)
    given = labels_by_text(levels, "score")
    labels, values = list(given.values()), _values(levels, given)
    pairs = row_prompt.pairs(examples)
    options = GREEDY | (options or {})
    write = score_tasks.written(list(values))
    format = {"type": "string", "enum": list(values)}
    numbers = list(values.values())

    def read(logprobs: list[float]) -> list[float]:
        odds = score_tasks.shares(logprobs)
        return [float(np.dot(odds, numbers)), *odds]

    def parsed(answer: str) -> list[float]:
        return [values[row_tasks.one_of(values)(answer)], *[math.nan] * len(values)]

    def level(answer: Any) -> str:
        return label_text(answer, values, "An example of score")

    def likeliest_level(value: list[float]) -> float:
        """Return the likeliest level, the answered one where there are no probabilities."""
        mean, *odds = value
        return mean if math.isnan(odds[0]) else numbers[score_tasks.likeliest(odds)]

    def columns(found: Sequence[Any], index: pd.Index, name: Any) -> pd.Series | pd.DataFrame:
        empty = [math.nan] * (1 + len(values))
        rows = np.array([empty if one is None else one for one in found], dtype="float64")
        rows = rows.reshape(-1, 1 + len(values))
        if probabilities:
            return pd.DataFrame(rows, index, ["score", *labels])
        return pd.Series(rows[:, 0], index=index, name=name)

    def build(prompt: row_prompt.RowPrompt) -> RowOperator:
        turns = row_prompt.turns(prompt, pairs, level)
        head = f"{system or SCORE + ', '.join(values)}\n\nQuestion: {prompt.sentence}"

        def task(servers: Servers, model: str) -> Task:
            if servers.can_score(model):
                answers = [write(name) for name in values]
                given = [(text, write(answer)) for text, answer in turns]
                return score_tasks.Score(model, head, answers, options, read, given)
            row_tasks.warn_of_no_probabilities("score")
            given = [(text, row_tasks.quoted(answer)) for text, answer in turns]
            return row_tasks.Chat(model, head, options, format, parsed, given)

        return RowOperator("completion", task, columns, verdict=likeliest_level)

    return PromptedOperator(build, is_sentence=True)


def _values(levels: Any, given: Mapping[str, Any]) -> dict[str, float]:
    """Return the value of each level by its text. Raises OllamaMagicsError."""
    if len(given) < 2:
        raise OllamaMagicsError("score needs at least two levels.")
    if isinstance(levels, Mapping):
        values = list(levels.values())
        if not all(map(_is_number, values)):
            raise OllamaMagicsError('The values of levels are numbers: {"low": 0, "high": 10}.')
    elif all(map(_is_number, given.values())):
        values = list(given.values())
    else:
        values = list(range(1, len(given) + 1))
    return {text: float(value) for text, value in zip(given, values, strict=True)}


def _is_number(value: Any) -> bool:
    is_number = pd.api.types.is_number(value) and not pd.api.types.is_bool(value)
    return is_number and math.isfinite(value)
