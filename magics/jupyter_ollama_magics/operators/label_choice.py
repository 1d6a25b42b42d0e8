"""``classify(by="auto")``: the chat model or the embedding model, with the reason."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from ..failures import OllamaMagicsError
from ..rows.questions import values_of
from ..rows.registry import RowOperator
from ..rows.tasks import Task
from ..servers import Servers
from .label_chat import one_label, one_label_task
from .label_embedding import nearest_label, nearest_label_task
from .label_question import LabelQuestion

KINDS = {"completion": "chat", "embedding": "embedding"}


def chosen_by_rows(question: LabelQuestion) -> RowOperator:
    """Return the operator that chooses between the kinds of models when the servers are known.

    It labels the rows of ``calibrate`` in both ways and takes the one with more right labels. A
    warning gives the choice and the reason.
    """

    def decide(servers: Servers, model: str | None) -> tuple[RowOperator, str]:
        models = _models(servers, model)
        if not models:
            raise OllamaMagicsError('by="auto" found neither a chat nor an embedding model.')
        kind, reason = _better(question, servers, models)
        warnings.warn(
            f'classify(by="auto") asks the {KINDS[kind]} model {models[kind]}: {reason}.',
            stacklevel=2,
        )
        chosen = one_label(question) if kind == "completion" else nearest_label(question)
        return chosen, models[kind]

    return replace(one_label(question), decide=decide)


def _models(servers: Servers, model: str | None) -> dict[str, str]:
    """Return the model of each kind that a call may use, by capability."""
    found: dict[str, str] = {}
    for capability in KINDS:
        try:
            name = servers.choose(model, capability)
            if _has(servers, name, capability):
                found[capability] = name
        except OllamaMagicsError:
            continue
    return found


def _has(servers: Servers, name: str, capability: str) -> bool:
    """Return whether a model is listed with a capability."""
    entry: dict[str, Any] = servers.connections[0].entry(name) or {}
    return capability in (servers.connections[0].capabilities(entry) if entry else [capability])


def _better(question: LabelQuestion, servers: Servers, models: dict[str, str]) -> tuple[str, str]:
    """Return the capability of the model to ask, and the reason."""
    if len(models) == 1:
        (kind,) = models
        other = next(name for name in KINDS if name != kind)
        return kind, f"there is no {KINDS[other]} model to compare it with"
    if not question.calibrate:
        return "completion", "calibrate= gives no labelled rows to compare both kinds of models by"
    plain = replace(question, calibrate=(), probabilities=False)
    right = {
        "completion": _right(
            question, servers, one_label_task(plain, servers, models["completion"])
        ),
        "embedding": _right(
            question, servers, nearest_label_task(plain, servers, models["embedding"])
        ),
    }
    best = max(right, key=lambda kind: (right[kind], kind == "embedding"))
    other = next(name for name in KINDS if name != best)
    count = len(question.calibrate)
    reason = (
        f"{right[best]} of its labels are right for the {count} rows of calibrate, "
        f"and {right[other]} of the {KINDS[other]} model {models[other]}"
    )
    return best, reason


def _right(question: LabelQuestion, servers: Servers, task: Task) -> int:
    """Return the number of rows of ``calibrate`` that get their label."""
    capability = "embedding" if hasattr(task, "dimensions") else "completion"
    texts = [text for text, _ in question.calibrate]
    found = values_of(servers, task, capability, texts, "calibrate")
    return sum(value == label for value, (_, label) in zip(found, question.calibrate, strict=True))
