"""Labels by a chat model: the likeliest answer, or several labels that fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from ..failures import OllamaMagicsError
from ..rows import columns
from ..rows import tasks as row_tasks
from ..rows.questions import values_of
from ..rows.registry import RowOperator
from ..servers import Servers
from .label_question import LabelQuestion
from .score_tasks import YES_AND_NO, Score, ScoreEach, likeliest, written, yes

CLASSIFY = "Classify the text. Answer with one of these labels and nothing else: "
FITS = "Decide whether a label fits the text. Answer yes or no and nothing else. The labels: "
FITTING = "Answer with a JSON list of the labels that fit the text, [] if none does. The labels: "
NO_CALIBRATION = "calibrate needs /api/score, which this server does not have."
NO_THRESHOLD = "threshold needs /api/score, which this server does not have."
HALF = 0.5


def one_label(question: LabelQuestion) -> RowOperator:
    """Return the operator that gives one label to each row.

    Where the server has ``/api/score``, it is the one with the highest probability, whether
    probabilities are returned or not. Elsewhere the answer is constrained to a label.
    """
    return RowOperator(
        "completion",
        lambda servers, model: one_label_task(question, servers, model),
        question.columns,
        verdict=likeliest if question.probabilities else None,
    )


def one_label_task(question: LabelQuestion, servers: Servers, model: str) -> row_tasks.Task:
    """Return the task that sends the rows."""
    system = question.system or CLASSIFY + question.listed
    if not servers.can_score(model):
        if question.probabilities:
            raise OllamaMagicsError(row_tasks.NO_SCORE)
        if question.calibrate:
            raise OllamaMagicsError(NO_CALIBRATION)
        format = {"type": "string", "enum": question.names}
        parse = row_tasks.one_of(question.names)
        turns = [(text, row_tasks.quoted(label)) for text, label in question.examples]
        return row_tasks.Chat(model, system, question.options, format, parse, turns)
    write = written(question.names)
    turns = [(text, write(label)) for text, label in question.examples]
    answers = [write(label) for label in question.names]
    task = Score(model, system, answers, question.options, turns=turns)
    if not question.calibrate:
        return replace(task, reader=question.reader())
    texts = [text for text, _ in question.calibrate]
    scores = values_of(servers, task, "completion", texts, "calibrate")
    return replace(task, reader=question.reader(question.fitted(scores)))


def all_labels(question: LabelQuestion, threshold: float, examples: Sequence[Any]) -> RowOperator:
    """Return the operator that gives to each row the labels that fit.

    ``examples`` are texts, each with a list of the texts of its labels. Where the server has
    ``/api/score``, each label is a question of yes or no. Elsewhere the answer is a list of labels.
    """

    def task(servers: Servers, model: str) -> row_tasks.Task:
        if not servers.can_score(model):
            if question.probabilities:
                raise OllamaMagicsError(row_tasks.NO_SCORE)
            if threshold != HALF:
                raise OllamaMagicsError(NO_THRESHOLD)
            return _list_task(question, examples, model)
        endings = [f"\n\nDoes this label fit: {name}?" for name in question.names]
        turns = [
            (text + ending, "yes" if name in labels else "no")
            for text, labels in examples
            for name, ending in zip(question.names, endings, strict=True)
        ]
        system = question.system or FITS + question.listed

        def read(found: list[Any]) -> Any:
            odds = [yes(one) for one in found]
            if question.probabilities:
                return odds
            pairs = zip(question.names, odds, strict=True)
            return [name for name, share in pairs if share >= threshold]

        return ScoreEach(model, system, YES_AND_NO, question.options, read, turns, endings=endings)

    def several(values: Sequence[Any], index: pd.Index, name: Any) -> pd.Series | pd.DataFrame:
        if question.probabilities:
            return columns.probabilities(values, question.given, index)
        found = [
            None if value is None else [question.given[label] for label in value]
            for value in values
        ]
        return columns.objects(found, index, name)

    def fitting(value: Any) -> Any:
        return [share >= threshold for share in value] if question.probabilities else value

    return RowOperator("completion", task, several, verdict=fitting)


def _list_task(question: LabelQuestion, examples: Sequence[Any], model: str) -> row_tasks.Task:
    """Return the task of a server without /api/score: a list that is constrained to labels."""
    items = {"type": "string", "enum": question.names}
    format = {"type": "array", "items": items, "maxItems": len(question.names)}
    system = question.system or FITTING + question.listed
    turns = [(text, json.dumps(labels, ensure_ascii=False)) for text, labels in examples]

    def parse(answer: str) -> list[str]:
        found = row_tasks.json_value(answer)
        if not isinstance(found, list) or any(one not in question.given for one in found):
            raise ValueError(f"the answer is not a list of labels: {answer}")
        return [name for name in question.names if name in found]

    return row_tasks.Chat(model, system, question.options, format, parse, turns)
