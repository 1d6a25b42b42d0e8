"""The messages of a conversation, as clients send them and templates receive them.

Field names are those of Ollama's API (``POST /api/chat``), so that one struct serves requests, the
pipe to the runner, and templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class ToolCallFunction(msgspec.Struct, omit_defaults=True):
    """The called function and its arguments (a JSON object, key order kept)."""

    name: str = ""
    arguments: dict[str, Any] = {}
    index: int = 0


class ToolCall(msgspec.Struct, omit_defaults=True):
    """One tool call of an assistant message."""

    function: ToolCallFunction
    id: str = ""


class Message(msgspec.Struct, omit_defaults=True):
    """One turn of a conversation.

    ``images``, which include audio, are base64 texts in requests, and on the pipe to the runner the
    indices of their bytes in a list beside the messages.
    """

    role: str = ""
    content: str = ""
    thinking: str = ""
    images: list[str] = []
    tool_calls: list[ToolCall] = []
    tool_name: str = ""
    tool_call_id: str = ""


def image_places(messages: Sequence[Message]) -> list[int]:
    """Return the indices of all images in order."""
    return [int(place) for message in messages for place in message.images]


def mark_images(messages: Sequence[Message]) -> tuple[list[Message], list[int]]:
    """Return messages with an ``[img-N]`` for each image or audio, and their indices in order.

    It replaces an ``[img]`` in the content, or else precedes the content.
    """
    places: list[int] = []
    marked = []
    for message in messages:
        before, content = "", message.content
        for place in message.images:
            mark = f"[img-{len(places)}]"
            places.append(int(place))
            if "[img]" in content:
                content = content.replace("[img]", mark, 1)
            else:
                before += mark
        marked.append(msgspec.structs.replace(message, content=before + content))
    return marked, places
