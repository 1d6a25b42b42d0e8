"""The ``format`` of generate and chat, which constrains the answer."""

from __future__ import annotations

import json
from typing import Any

from ..engine.protocol import Constraint
from ..errors import OllamaError


def constraint(format: Any) -> Constraint | None:
    """Return the constraint of a request's ``format``, None for none. Raises OllamaError(400).

    ``"json"`` is a JSON object, an object is a JSON schema, and ``{"grammar": text}`` is a grammar
    in Lark or GBNF, which is our own addition.
    """
    if format is None or format == "":
        return None
    if format == "json":
        return Constraint("json")
    if not isinstance(format, dict):
        raw = _quoted(_compact(format))
        message = f'invalid format: {raw}; expected "json" or a valid JSON Schema object'
        raise OllamaError(400, message)
    if format.keys() == {"grammar"}:
        if not isinstance(format["grammar"], str):
            raise OllamaError(400, "invalid format: grammar must be a string")
        return Constraint("grammar", format["grammar"])
    return Constraint("schema", _compact(format))


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _quoted(text: str) -> str:
    """Quote as Go's %q does, near enough: the raw JSON is part of Ollama's message."""
    return json.dumps(text, ensure_ascii=False)
