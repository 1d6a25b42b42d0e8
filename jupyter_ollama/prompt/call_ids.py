"""Ids of tool calls as nine letters and digits, which Mistral's templates require."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from itertools import count

import msgspec

from .messages import Message

_LENGTH = 9


def with_short_ids(messages: Sequence[Message]) -> list[Message] | None:
    """Return messages whose calls and results have ids of nine letters and digits.

    Ids of this form are kept. A result without an id belongs to the first call without a result,
    among those with its ``tool_name`` if there are any. Returns None if all ids are kept.
    """
    if not any(message.tool_calls or message.role == "tool" for message in messages):
        return None
    numbers = count()
    waiting: list[tuple[str, str]] = []  # names and ids of calls without a result
    changed = []
    for message in messages:
        if message.tool_calls:
            calls = [
                msgspec.structs.replace(call, id=_short(call.id or f"call {next(numbers)}"))
                for call in message.tool_calls
            ]
            waiting = [(call.function.name, call.id) for call in calls]
            message = msgspec.structs.replace(message, tool_calls=calls)
        elif message.role == "tool":
            answered = _short(message.tool_call_id) if message.tool_call_id else ""
            named = [call for call in waiting if call[0] == message.tool_name]
            found = next((call for call in waiting if call[1] == answered), None)
            if found is None and not answered:
                found = next(iter(named or waiting), None)
            if found:
                waiting.remove(found)
                answered = found[1]
            answered = answered or _short(f"result {next(numbers)}")
            message = msgspec.structs.replace(message, tool_call_id=answered)
        changed.append(message)
    return changed if changed != list(messages) else None


def _short(name: str) -> str:
    if len(name) == _LENGTH and name.isascii() and name.isalnum():
        return name
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_LENGTH]
