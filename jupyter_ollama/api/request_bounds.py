"""Bounds of requests: counts and bytes, checked before they are processed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from ..errors import OllamaError
from ..options import Options
from .json_shape import count_values, most_values

if TYPE_CHECKING:
    from ..bounds import Bounds
    from ..prompt.messages import Message

_LISTS = {
    "messages": "max_messages",
    "tools": "max_tools",
    "images": "max_files",
    "input": "max_texts",
    "documents": "max_texts",
    "continuations": "max_continuations",
    "choices": "max_continuations",
    "context": "max_token_ids",
    "tokens": "max_token_ids",
    "stop": "max_stop_strings",
    "stop_sequences": "max_stop_strings",
}
"""The bound of each field that may be a list, in all APIs."""
_SCHEMAS = ("tools", "format", "response_format", "text")
"""Fields with schemas; in /v1/responses ``text`` is an object with one."""
_TEXTS = ("prompt", "suffix", "system", "template", "query", "instructions")


def check_request(bounds: Bounds, request: msgspec.Struct) -> None:
    """Raise OllamaError(400) for a request that holds too much of something."""
    for field in request.__struct_fields__:
        value = getattr(request, field)
        if isinstance(value, list) and field in _LISTS:
            is_conversation = field == "input" and "instructions" in request.__struct_fields__
            bound = "max_messages" if is_conversation else _LISTS[field]
            check_count(field, len(value), getattr(bounds, bound))
        if isinstance(value, list) and field in ("messages", "input"):
            _check_arguments(bounds, value)
        if value and field in _SCHEMAS and not (field == "text" and isinstance(value, str)):
            check_bytes(field, _size(value), bounds.max_schema_bytes)
        if field in _TEXTS and isinstance(value, str):
            check_bytes(field, len(value), bounds.max_text_bytes)


def _check_arguments(bounds: Bounds, messages: list[Any]) -> None:
    """Raise OllamaError(400) for too many JSON values in the texts of calls of tools."""
    calls: list[Any] = [message for message in messages if isinstance(message, dict)]
    for message in list(calls):
        made = message.get("tool_calls")
        calls += [call.get("function") for call in made or () if isinstance(call, dict)]
    texts = [call.get("arguments") for call in calls if isinstance(call, dict)]
    raw = [text.encode() for text in texts if isinstance(text, str)]
    if sum(map(most_values, raw)) > bounds.max_json_values:
        check_count(
            "JSON values in arguments",
            sum(count_values(text)[0] for text in raw),
            bounds.max_json_values,
        )


def check_messages(bounds: Bounds, messages: Iterable[Message], choices: int = 1) -> None:
    """Raise OllamaError(400) for a conversation that is too much, with all ``choices`` of it."""
    texts = files = file_bytes = 0
    for message in messages:
        texts += len(message.content) + len(message.thinking)
        files += len(message.images)
        file_bytes += sum(map(len, message.images))
    check_bytes("messages", texts, bounds.max_text_bytes)
    check_count("images", files, bounds.max_files)
    check_choices(bounds, choices, texts + file_bytes)


def check_choices(bounds: Bounds, choices: int, size: int) -> None:
    """Raise OllamaError(400) for too many answers, or too many for a prompt of ``size`` bytes."""
    check_count("the choices of all prompts", choices, bounds.max_choices)
    check_bytes("the prompts of all choices", choices * size, bounds.max_body_bytes)


def check_options(bounds: Bounds, options: Options) -> None:
    """Raise OllamaError(400) for too many or too long stop strings, a model's own among them."""
    check_count("stop", len(options.stop), bounds.max_stop_strings)
    check_bytes("stop", sum(map(len, options.stop)), bounds.max_stop_bytes)


def check_count(what: str, count: int, most: int) -> None:
    """Raise OllamaError(400) beyond ``most``."""
    if count > most:
        raise OllamaError(400, f"{what} must be {most} at most")


def check_bytes(what: str, size: int, most: int) -> None:
    """Raise OllamaError(400) beyond ``most`` bytes."""
    if size > most:
        raise OllamaError(400, f"{what} must have {most} bytes at most")


def _size(value: Any) -> int:
    """Return the bytes of a value as JSON, an upper bound for values that JSON lacks."""
    return len(value) if isinstance(value, str) else len(orjson.dumps(value, default=str))
