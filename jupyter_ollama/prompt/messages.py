"""The messages of a conversation, as clients send them and as templates see them.

Field names are those of Ollama's API (``POST /api/chat``), so one struct serves the wire between
client and server, the pipe to the runner, and the templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class ToolCallFunction(msgspec.Struct, omit_defaults=True):
    """The function a model asks for and its arguments (a JSON object, key order kept)."""

    name: str = ""
    arguments: dict[str, Any] = {}
    index: int = 0


class ToolCall(msgspec.Struct, omit_defaults=True):
    """One call that an assistant message carries."""

    function: ToolCallFunction
    id: str = ""


class Message(msgspec.Struct, omit_defaults=True):
    """One turn of a conversation.

    ``images`` are base64 texts where clients send them, and on the pipe to the runner the places of
    their bytes in a list beside the messages.
    """

    role: str = ""
    content: str = ""
    thinking: str = ""
    images: list[str] = []
    tool_calls: list[ToolCall] = []
    tool_name: str = ""
    tool_call_id: str = ""


def mark_images(messages: Sequence[Message]) -> tuple[list[Message], list[int]]:
    """Return messages with an ``[img-N]`` for each image, and the places of those images in order.

    It goes where the content says ``[img]``, else before the content.
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
