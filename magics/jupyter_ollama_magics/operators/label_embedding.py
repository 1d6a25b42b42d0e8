"""Labels by an embedding model: the label whose meaning is nearest to the row's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..rows.questions import values_of
from ..rows.registry import RowOperator
from ..rows.similar import normalized
from ..rows.tasks import Embed, Task
from ..servers import Servers
from .label_question import LabelQuestion


@dataclass
class EmbedAndRead(Embed):
    """The vector of each text, read by ``reader`` as the value of the row."""

    reader: Callable[[np.ndarray], Any] = np.asarray

    def parse(self, answer: Any) -> Any:
        """Return the value of a vector."""
        return self.reader(np.asarray(answer, dtype=np.float32))


def nearest_label(question: LabelQuestion) -> RowOperator:
    """Return the operator that gives to each row the label of the nearest meaning."""
    return RowOperator(
        "embedding",
        lambda servers, model: nearest_label_task(question, servers, model),
        question.columns,
    )


def nearest_label_task(question: LabelQuestion, servers: Servers, model: str) -> Task:
    """Return the task that embeds the rows.

    The labels are embedded before, with their descriptions and the rows of ``examples``: a label's
    vector is the mean of the vectors of its name and of its examples.
    """
    named = [_described(question, name) for name in question.names]
    examples = [text for text, _ in question.examples]
    labelled = [text for text, _ in question.calibrate]
    texts = [*named, *examples, *labelled]
    found = values_of(servers, Embed(model), "embedding", texts, "labels")
    units = normalized(np.stack([np.asarray(one, dtype=np.float32) for one in found]))
    known = units[: len(named)].copy()
    for (_, label), unit in zip(question.examples, units[len(named) :], strict=False):
        known[question.names.index(label)] += unit
    known = normalized(known)
    if not labelled:
        return EmbedAndRead(model, reader=_reader(known, question.reader()))
    scores = units[len(units) - len(labelled) :] @ known.T
    return EmbedAndRead(model, reader=_reader(known, question.reader(question.fitted(scores))))


def _described(question: LabelQuestion, name: str) -> str:
    meaning = question.meanings.get(name)
    return f"{name}: {meaning}" if meaning else name


def _reader(
    known: np.ndarray, read: Callable[[Sequence[float]], Any]
) -> Callable[[np.ndarray], Any]:
    def value(vector: np.ndarray) -> Any:
        if vector.shape != known.shape[1:]:
            raise ValueError("the vector has another length than those of the labels")
        cosines = known @ normalized(vector[None])[0]
        return read(cosines.astype(float).tolist())

    return value
