"""The names of groups of texts: the words that distinguish them, or a model's name for them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..rows import columns
from ..rows import tasks as row_tasks
from ..rows.registry import RowOperator

if TYPE_CHECKING:
    from ..servers import Servers

NAME_WORDS = 3
"""Distinctive words of a topic's name."""

TEXT_CHARACTERS = 400
"""Characters of each typical text that a model reads to name a topic."""

SYSTEM = (
    "Name the topic that the texts have in common, in two to five words. Answer in JSON with the "
    'name alone, such as {"name": "late deliveries"}.'
)
NAME = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 3, "maxLength": 60}},
    "required": ["name"],
}
_WORD = re.compile(r"[^\W\d_][\w'’-]*[^\W_]")  # noqa: RUF001 - an apostrophe of texts


def words_of(groups: Sequence[Sequence[str]], number: int = NAME_WORDS) -> list[list[str]]:
    """Return the words that distinguish each group of texts from the others.

    The class-based TF-IDF of Grootendorst (2022): how often a word is in the texts of a group,
    times the logarithm of how rare it is in all groups. A word counts once a text. Words of a third
    of the texts, or more, in most groups name none of them.
    """
    counts = [Counter(word for text in group for word in _words(text)) for group in groups]
    whole: Counter[str] = sum(counts, Counter())
    mean = sum(whole.values()) / max(len(groups), 1)
    often = Counter(
        word
        for count, group in zip(counts, groups, strict=True)
        for word, found in count.items()
        if found * 3 >= len(group)
    )
    common = {word for word, number in often.items() if number > max(1, len(groups) / 2)}
    names = []
    for count, group in zip(counts, groups, strict=True):
        weights = {
            word: found / len(group) * float(np.log1p(mean / whole[word]))
            for word, found in count.items()
            # A word of one text in a large group is typical of nothing.
            if word not in common and (found > 1 or len(group) < 4)
        }
        names.append(sorted(weights, key=lambda word: (-weights[word], word))[:number])
    return names


def naming() -> RowOperator:
    """Return the operator that names the topic of some texts."""

    def task(servers: Servers, model: str) -> row_tasks.Task:
        options = {"temperature": 0, "num_predict": 64}
        return row_tasks.Chat(model, SYSTEM, options, NAME, _name)

    return RowOperator("completion", task, columns.objects)


def question(texts: Sequence[str]) -> str:
    """Return the prompt that asks for the topic of some texts."""
    lines = (" ".join(text.split())[:TEXT_CHARACTERS] for text in texts)
    return "The texts:\n" + "\n".join(f"- {line}" for line in lines)


def distinct(names: Sequence[str], words: Sequence[Sequence[str]]) -> list[str]:
    """Return the names; equal ones get the distinctive words of their topic, or a number."""
    often = Counter(name.casefold() for name in names)
    result: list[str] = []
    for name, own in zip(names, words, strict=True):
        if often[name.casefold()] > 1 and own:
            name = f"{name} ({', '.join(own)})"
        plain, number = name, 2
        while name in result:
            name, number = f"{plain} {number}", number + 1
        result.append(name)
    return result


def typical(units: np.ndarray, number: int) -> np.ndarray:
    """Return the rows of (rows, dimensions) that are nearest to their mean, the nearest first."""
    return np.argsort(-(units @ units.mean(axis=0)), kind="stable")[:number]


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORD.findall(text) if len(word) > 2}


def _name(answer: str) -> Any:
    """Return the name in an answer. Raises ValueError."""
    name = " ".join(str(json.loads(answer)["name"]).split()).strip(" .")
    if not name:
        raise ValueError("the name is empty")
    return name
