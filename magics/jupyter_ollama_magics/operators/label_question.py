"""A call of ``classify`` before its model is known: the labels, and how an answer is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..rows import columns
from .calibration import PLAIN, Calibration
from .score_tasks import likeliest, shares

Labelled = Sequence[tuple[str, str]]
"""Texts as they are sent, and the text of the label of each."""


@dataclass(frozen=True)
class LabelQuestion:
    """What ``classify`` was given.

    ``given`` maps the texts of labels to labels, ``meanings`` some of them to descriptions.
    ``examples`` and ``calibrate`` are labelled rows.
    """

    given: Mapping[str, Any]
    meanings: Mapping[str, str]
    probabilities: bool
    system: str | None
    options: dict[str, Any]
    examples: Labelled = ()
    calibrate: Labelled = ()

    @property
    def names(self) -> list[str]:
        """The texts of the labels, in their order."""
        return list(self.given)

    @property
    def listed(self) -> str:
        """The labels as a prompt names them, with their descriptions if they have some."""
        if not self.meanings:
            return ", ".join(self.given)
        return "".join(f"\n- {name}: {self.meanings[name]}" for name in self.given)

    def reader(self, calibration: Calibration = PLAIN) -> Callable[[Sequence[float]], Any]:
        """Return a function that reads a score for each label as the value of a row.

        The value is the list of probabilities or the text of the likeliest label: both follow from
        the same scores, so they agree.
        """

        def read(scores: Sequence[float]) -> Any:
            adjusted = calibration.adjusted(scores)
            return shares(adjusted) if self.probabilities else self.names[likeliest(adjusted)]

        return read

    def columns(
        self, values: Sequence[Any], index: pd.Index, name: Any
    ) -> pd.Series | pd.DataFrame:
        """Return the column of labels, or the columns of probabilities."""
        if self.probabilities:
            return columns.probabilities(values, self.given, index)
        return columns.labels(values, self.given, index, name)

    def fitted(self, scores: Sequence[Sequence[float]]) -> Calibration:
        """Return the calibration by the scores of the rows of ``calibrate``."""
        places = [self.names.index(label) for _, label in self.calibrate]
        return Calibration.fitted(scores, places)
