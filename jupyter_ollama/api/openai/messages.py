"""Conversations as OpenAI's clients send them, made into Ollama's messages."""

from __future__ import annotations

from typing import Any

from ...errors import OllamaError
from ...prompt.messages import Message, ToolCall, ToolCallFunction
from ..images import needed_capabilities
from ..translation import name_tools, native_role, optional, parse_arguments, typed
from .options import GO_TYPES

_IMAGE_PREFIXES = (
    "data:;base64,",
    *(f"data:image/{kind};base64," for kind in ("jpeg", "jpg", "png", "webp")),
)
_NO_URLS = "image URLs are not currently supported, please use base64 encoded data instead"
_BAD_SOUND = "invalid input_audio: data must be a WAV, MP3 or FLAC file in base64"
_BAD_MESSAGE = "invalid message format"
_TEXTS = {"text": "text", "refusal": "refusal"}


def native_messages(messages: list[dict[str, Any]]) -> list[Message]:
    """Return the messages of a chat. Raises OllamaError(400)."""
    return name_tools([_message(message) for message in messages])


def image_data(url: str) -> str:
    """Return the base64 text of an image's data URL. Raises OllamaError(400)."""
    if url.startswith(("http://", "https://")):
        raise OllamaError(400, _NO_URLS)
    for prefix in _IMAGE_PREFIXES:
        if url.startswith(prefix):
            return url.removeprefix(prefix)
    raise OllamaError(400, "invalid image input")


def sound_data(audio: Any) -> str:
    """Return the base64 text of a part ``input_audio``; the file itself states its format.

    Raises OllamaError(400).
    """
    data = typed(typed(audio, dict, _BAD_SOUND).get("data"), str, _BAD_SOUND)
    if needed_capabilities([data]) != ["audio"]:
        raise OllamaError(400, _BAD_SOUND)
    return data


def _message(message: dict[str, Any]) -> Message:
    role = native_role(optional(message, "role", str, _BAD_MESSAGE))
    calls = [_tool_call(call) for call in optional(message, "tool_calls", list, _BAD_MESSAGE)]
    text, images = _content(message.get("content"), may_lack=bool(calls))
    return Message(
        role=role,
        content=text,
        thinking=optional(message, "reasoning", str, _BAD_MESSAGE)
        or optional(message, "reasoning_content", str, _BAD_MESSAGE),
        images=images,
        tool_calls=calls,
        tool_name=optional(message, "name", str, _BAD_MESSAGE) if role == "tool" else "",
        tool_call_id=optional(message, "tool_call_id", str, _BAD_MESSAGE),
    )


def _content(content: Any, may_lack: bool) -> tuple[str, list[str]]:
    """Return the text of a message, and its images and sounds.

    Ollama makes a message of each part; templates that require alternating roles refuse that.
    """
    if isinstance(content, str):
        return content, []
    if content is None and may_lack:
        return "", []
    if not isinstance(content, list):
        raise OllamaError(400, f"invalid message content type: {GO_TYPES[type(content)]}")
    texts: list[str] = []
    images: list[str] = []
    for part in content:
        kind = optional(typed(part, dict, _BAD_MESSAGE), "type", str, _BAD_MESSAGE)
        if kind in _TEXTS:
            texts.append(typed(part.get(_TEXTS[kind]), str, _BAD_MESSAGE))
        elif kind == "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            images.append(image_data(typed(url, str, _BAD_MESSAGE)))
        elif kind == "input_audio":
            images.append(sound_data(part.get("input_audio")))
        else:
            raise OllamaError(400, _BAD_MESSAGE)
    return "\n\n".join(texts), images


def _tool_call(call: Any) -> ToolCall:
    function = typed(typed(call, dict, _BAD_MESSAGE).get("function"), dict, _BAD_MESSAGE)
    return tool_call(function, optional(call, "id", str, _BAD_MESSAGE))


def tool_call(
    function: dict[str, Any], id: str, bad_arguments: str = "invalid tool call arguments"
) -> ToolCall:
    """Return an earlier call of a tool; its arguments are JSON text. Raises OllamaError(400)."""
    name = optional(function, "name", str, _BAD_MESSAGE)
    arguments = optional(function, "arguments", str, bad_arguments) or "{}"
    return ToolCall(ToolCallFunction(name, parse_arguments(arguments, bad_arguments)), id)
