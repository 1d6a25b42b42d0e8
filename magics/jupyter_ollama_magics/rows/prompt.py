"""Operators that depend on the prompt of a call, by a sentence in it or by examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from ..failures import OllamaMagicsError
from .registry import Operator, RowOperator
from .sentences import fields_of, known_fields, sentence_and_template

Data = pd.Series | pd.DataFrame
Fill = Callable[[Any, str | None], list[str | None]]
"""Returns the text that is sent for each row of data, by a prompt."""

PAIRS = 'examples is a list of pairs, such as [("It broke", "bad")].'


class RowPrompt:
    """The prompt of a call: the texts of its rows, and of further rows like them.

    Parameters
    ----------
    data : Series or DataFrame
        The rows.
    prompt : str, optional
        The prompt as the user gave it.
    fill : callable
        Returns the texts of rows.
    is_sentence : bool
        Whether the prompt is a sentence about the rows: see ``row_sentences``.
    """

    def __init__(self, data: Data, prompt: str | None, fill: Fill, *, is_sentence: bool) -> None:
        self._data = data
        self._fill = fill
        self._prompt = prompt
        self.sentence = ""
        if is_sentence:
            self.sentence, self._prompt = sentence_and_template(prompt, data)

    @property
    def texts(self) -> list[str | None]:
        """The text of each row, None where a value is missing."""
        return self._fill(self._data, self._prompt)

    def like(self, rows: Iterable[Any], what: str = "examples") -> list[str]:
        """Return the texts of further rows.

        A row of a Series is its value. That of a DataFrame is a mapping with the columns of the
        prompt, or a value if there is one column. Raises OllamaMagicsError.
        """
        texts = self._fill(self._rows(list(rows), what), self._prompt)
        found = [text for text in texts if text is not None]
        if len(found) < len(texts):
            raise OllamaMagicsError(f"One of the texts of {what} is missing (NaN).")
        return found

    def _rows(self, rows: list[Any], what: str) -> Data:
        if isinstance(self._data, pd.Series):
            return pd.Series(rows, name=self._data.name, dtype=object)
        names = self._columns()
        found = []
        for row in rows:
            if not isinstance(row, Mapping | pd.Series):
                row = {names[0]: row} if len(names) == 1 else {}
            if any(name not in row for name in names):
                columns = ", ".join(f'"{name}": …' for name in names)
                raise OllamaMagicsError(f"A row of {what} has the columns {{{columns}}}.")
            found.append([row[name] for name in names])
        return pd.DataFrame(found, columns=names, dtype=object)

    def _columns(self) -> list[Any]:
        """Return the columns of a DataFrame that the prompt uses."""
        if self._prompt in self._data.columns:
            return [self._prompt]
        return known_fields(str(self._prompt), fields_of(self._data))


def resolved(
    operator: Operator, data: Data, prompt: str | None, fill: Fill
) -> tuple[RowOperator, list[str | None]]:
    """Return the operator of a call, and the texts of its rows. Raises OllamaMagicsError."""
    if isinstance(operator, RowOperator):
        return operator, fill(data, prompt)
    asked = RowPrompt(data, prompt, fill, is_sentence=operator.is_sentence)
    texts = asked.texts
    return operator.build(asked), texts


def pairs(examples: Any) -> list[tuple[Any, Any]]:
    """Return examples as pairs of a row and its answer. Raises OllamaMagicsError."""
    if isinstance(examples, str | bytes | Mapping) or not isinstance(examples, Iterable):
        raise OllamaMagicsError(PAIRS)
    found: list[tuple[Any, Any]] = []
    for one in examples:
        if not isinstance(one, tuple | list) or len(one) != 2:
            raise OllamaMagicsError(PAIRS)
        found.append((one[0], one[1]))
    return found


def turns(
    prompt: RowPrompt, examples: Sequence[tuple[Any, Any]], answer: Callable[[Any], str]
) -> list[tuple[str, str]]:
    """Return examples as turns of a conversation; ``answer`` writes an answer as the model does."""
    texts = prompt.like(row for row, _ in examples)
    return [(text, answer(given)) for text, (_, given) in zip(texts, examples, strict=True)]
