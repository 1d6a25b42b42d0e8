"""The answers of examples, written as a model answers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from ..failures import OllamaMagicsError


def answer_json(parse: Callable[[str], Any]) -> Callable[[Any], str]:
    """Return a function that writes an answer as JSON; ``parse`` reads it, to check it.

    A pydantic model and a dataclass are objects of JSON. The function raises OllamaMagicsError for
    an answer that has no JSON or does not fit.
    """

    def write(answer: Any) -> str:
        try:
            text = json.dumps(_plain(answer), ensure_ascii=False, default=_leaf, allow_nan=False)
            parse(text)
        except (TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise OllamaMagicsError(f"The answer of an example does not fit: {reason}.") from None
        return text

    return write


def _plain(answer: Any) -> Any:
    if hasattr(answer, "model_dump"):
        return answer.model_dump(mode="json")
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return dataclasses.asdict(answer)
    return answer


def _leaf(value: Any) -> Any:
    """Return a value of JSON for a date, an enum or a number of NumPy."""
    for name in ("isoformat", "item"):
        if hasattr(value, name):
            return getattr(value, name)()
    return getattr(value, "value", str(value))
