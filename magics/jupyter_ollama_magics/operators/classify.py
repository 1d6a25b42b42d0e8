"""``classify``: labels of rows, by a chat model or by meaning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from ..failures import OllamaMagicsError
from ..rows import prompt as row_prompt
from ..rows.registry import Operator, PromptedOperator, RowOperator, row_operator
from .checks import (
    GREEDY,
    check_choice,
    check_flags,
    check_settings,
    check_threshold,
    label_text,
    labels_by_text,
    meanings_of,
)
from .label_chat import all_labels, one_label
from .label_choice import chosen_by_rows
from .label_embedding import nearest_label
from .label_question import LabelQuestion

WAYS = {"chat": one_label, "embedding": nearest_label, "auto": chosen_by_rows}
LABELLED = "calibrate is a pair of texts and labels, such as (df.text[:20], df.label[:20])."


@row_operator
def classify(
    labels: Iterable[Any],
    *,
    multi: bool = False,
    by: Literal["chat", "embedding", "auto"] = "chat",
    probabilities: bool = False,
    examples: Sequence[tuple[Any, Any]] = (),
    calibrate: tuple[Sequence[Any], Sequence[Any]] | None = None,
    threshold: float = 0.5,
    system: str | None = None,
    options: dict[str, Any] | None = None,
) -> Operator:
    """Return the label that a model gives to each row; it can answer with nothing else.

    Where the server has ``/api/score``, as jupyter_ollama has, it is the label with the highest
    probability. Elsewhere the answer is constrained to a label, and there are no probabilities.

    Parameters
    ----------
    labels : iterable, or dict of descriptions
        The labels, in the order of the categories. A dict describes them:
        ``{"pet": "about animals at home", "money": "about prices and taxes"}``.
    multi : bool
        Return all labels that fit, none among them, as a list for each row.
    by : {"chat", "embedding", "auto"}
        "chat" asks a chat model. "embedding" takes the label whose vector is nearest to the row's,
        and needs an embedding model. "auto" labels the rows of ``calibrate`` in both ways, takes
        the one with more right labels, and warns which and why.
    probabilities : bool
        Return the probability of each label. With ``multi`` they are independent of each other.
        With ``by="embedding"`` they need ``calibrate``.
    examples : list of (row, label), optional
        Rows with the labels that they should get, with ``multi`` with lists of labels; see
        ``chat``. With ``by="embedding"`` their vectors are averaged with the label's.
    calibrate : (rows, labels), optional
        Some rows and their labels, by which the model's preference for some of the labels is
        removed and its confidence adjusted. Give rows that are not in ``examples``.
    threshold : float
        The least probability of a label with ``multi``, from 0 to 1.
    system : str, optional
        The system message; by default an instruction with the labels.
    options : dict, optional
        Options of the request; the temperature is 0 by default.

    Returns
    -------
    Series of category, of lists with ``multi``, or DataFrame of float64 with ``probabilities``
        The DataFrame has a column for each label. With ``errors="column"``, a DataFrame with the
        columns "answer" and "error".

    Examples
    --------
    >>> reviews = pd.Series(["I love it", None, "It broke at once"], name="text")
    >>> labels = reviews.ollama.classify(["good", "bad"], model="smollm2")
    >>> labels.cat.categories.tolist()
    ['good', 'bad']
    >>> shares = reviews.ollama.classify(["good", "bad"], model="smollm2", probabilities=True)
    >>> shares.sum(axis=1).round(3).tolist()
    [1.0, 0.0, 1.0]

    By meaning, with descriptions of the labels:

    >>> about = {"pet": "cats, dogs and other animals", "money": "prices, taxes and shares"}
    >>> texts = pd.Series(["The kitten sleeps", "Stocks fell today"])
    >>> texts.ollama.classify(about, model="all-minilm", by="embedding").tolist()
    ['pet', 'money']
    """
    check_settings(system, options)
    check_flags(multi=multi, probabilities=probabilities)
    check_choice("by", by, tuple(WAYS))
    least = check_threshold(threshold)
    given = labels_by_text(labels)
    meanings = meanings_of(labels)
    pairs = row_prompt.pairs(examples)
    rows, truth = _labelled(calibrate)
    if multi and (by != "chat" or calibrate is not None):
        raise OllamaMagicsError('multi=True needs by="chat" and takes no calibrate.')
    if by == "embedding" and probabilities and not rows:
        raise OllamaMagicsError(
            'by="embedding" has similarities, and no probabilities without labelled rows: '
            "calibrate=(texts, labels)."
        )
    if by == "embedding" and system is not None:
        raise OllamaMagicsError('by="embedding" takes no system message: describe the labels.')
    settings = GREEDY | (options or {})

    def one(label: Any) -> str:
        return label_text(label, given, "An example of classify")

    def build(prompt: row_prompt.RowPrompt) -> RowOperator:
        texts = prompt.like(row for row, _ in pairs)
        question = LabelQuestion(given, meanings, probabilities, system, settings)
        if multi:
            lists = [_several(labels, one) for _, labels in pairs]
            return all_labels(question, least, list(zip(texts, lists, strict=True)))
        turns = [(text, one(label)) for text, (_, label) in zip(texts, pairs, strict=True)]
        known = [label_text(label, given, "calibrate") for label in truth]
        labelled = list(zip(prompt.like(rows, "calibrate"), known, strict=True))
        return WAYS[by](
            LabelQuestion(given, meanings, probabilities, system, settings, turns, labelled)
        )

    return PromptedOperator(build)


def _several(labels: Any, one: Any) -> list[str]:
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise OllamaMagicsError('With multi=True the answer of an example is a list: ["a", "b"].')
    return [one(label) for label in labels]


def _labelled(calibrate: Any) -> tuple[list[Any], list[Any]]:
    """Return the rows and the labels of ``calibrate``. Raises OllamaMagicsError."""
    if calibrate is None:
        return [], []
    if not isinstance(calibrate, tuple | list) or len(calibrate) != 2:
        raise OllamaMagicsError(LABELLED)
    rows, labels = calibrate
    if any(isinstance(one, str) or not isinstance(one, Iterable) for one in (rows, labels)):
        raise OllamaMagicsError(LABELLED)
    rows = rows.to_dict("records") if hasattr(rows, "columns") else list(rows)
    labels = list(labels)
    if not rows or len(rows) != len(labels):
        raise OllamaMagicsError(f"calibrate has {len(rows)} texts and {len(labels)} labels.")
    return rows, labels
