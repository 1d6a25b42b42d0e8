"""The questions of ``join``: whether a model takes statements about pairs of rows for true.

A server with ``/api/score`` gives the probability of yes. From others a model must answer yes or
no, which is a probability of 1 or 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..failures import OllamaMagicsError
from ..operators.score_tasks import YES_AND_NO, Score, yes
from ..rows import tasks as row_tasks
from ..rows import texts as row_texts
from ..rows.registry import RowOperator

if TYPE_CHECKING:
    from ..servers import Servers

SYSTEM = 'Is the statement true? Answer with "yes" or "no" and nothing else.'
GREEDY = {"temperature": 0}


@dataclass
class Statements:
    """The statements of pairs of rows: a template with ``{left.column}`` and ``{right.column}``.

    Columns of a frame with one column may be named ``{left}`` and ``{right}``, too.
    """

    template: str
    left: pd.DataFrame
    right: pd.DataFrame

    def __post_init__(self) -> None:
        if not isinstance(self.template, str):
            raise OllamaMagicsError(f"prompt is a text, not {type(self.template).__name__}.")
        self._fields = _fields("left", self.left) | _fields("right", self.right)
        used = row_texts.used_fields(self.template, self._fields)
        self._used = list(dict.fromkeys(used))
        for side, frame in (("left", self.left), ("right", self.right)):
            if not self._of(side):
                names = ", ".join(f"{{{name}}}" for name in _fields(side, frame))
                raise OllamaMagicsError(f"The prompt names no column of the {side} table: {names}.")

    def _of(self, side: str) -> list[str]:
        return [name for name in self._used if name.partition(".")[0] == side]

    def texts_of(self, side: str) -> pd.Series:
        """Return the named values of each row of a side as one text, missing if one is missing."""
        chosen = [self._fields[name] for name in self._of(side)]
        frame = pd.concat(chosen, axis=1, keys=range(len(chosen)))
        rows = zip(*(column.tolist() for column in chosen), strict=True)
        texts = [" ".join(map(str, row)) for row in rows]
        return pd.Series(texts, frame.index, dtype=object).mask(frame.isna().any(axis=1))

    def of(self, rows: np.ndarray, places: np.ndarray) -> list[str | None]:
        """Return the statements of the pairs of left ``rows`` and right ``places``."""
        numbers = {"left": rows, "right": places}
        pairs = {
            name: self._fields[name].take(numbers[name.partition(".")[0]]).reset_index(drop=True)
            for name in self._used
        }
        return row_texts.fill_template(self.template, pairs, None)


@dataclass
class Question:
    """Whether statements are true. ``scored`` is known after the first request."""

    scored: bool = True

    def operator(self) -> RowOperator:
        """Return the operator that gives the probability of each statement."""
        return RowOperator("completion", self._task, _column)

    def _task(self, servers: Servers, model: str) -> row_tasks.Task:
        self.scored = servers.can_score(model)
        if self.scored:
            return Score(model, SYSTEM, YES_AND_NO, GREEDY, yes)
        format = {"type": "string", "enum": ["yes", "no"]}
        return row_tasks.Chat(model, SYSTEM, GREEDY, format, _answer)


def _answer(answer: str) -> float:
    """Return the probability of yes of a constrained answer. Raises ValueError."""
    found = json.loads(answer)
    if found not in ("yes", "no"):
        raise ValueError(f"the answer is neither yes nor no: {found}")
    return float(found == "yes")


def _column(values: Sequence[Any], index: pd.Index, name: Any) -> pd.Series:
    found = [np.nan if value is None else value for value in values]
    return pd.Series(found, index, name=name, dtype="float64")


def _fields(side: str, frame: pd.DataFrame) -> dict[str, pd.Series]:
    fields = {f"{side}.{name}": frame.iloc[:, at] for at, name in enumerate(frame)}
    return fields | ({side: frame.iloc[:, 0]} if frame.shape[1] == 1 else {})
