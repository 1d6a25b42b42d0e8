"""The input of /v1/responses, made into Ollama's messages and tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ...errors import OllamaError
from ...prompt.messages import Message
from ..translation import name_tools, native_role, optional, typed
from .messages import image_data, sound_data, tool_call

_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
_BAD_TOOL = "invalid tool"
_BAD_ITEM = "invalid input item"
_BAD_ARGUMENTS = "failed to parse function call arguments"

Item = dict[str, Any]


def native_messages(instructions: str, items: Any) -> list[Message]:
    """Return the messages of a conversation. Raises OllamaError(400)."""
    messages = [Message("system", instructions)] if instructions else []
    if isinstance(items, str):
        return [*messages, Message("user", items)] if items else messages
    if not isinstance(items, list):
        raise OllamaError(400, "input must be a string or array")
    for index, item in enumerate(items):
        try:
            _add(messages, typed(item, dict, "input item must be an object"))
        except OllamaError as error:
            raise OllamaError(error.status, f"input[{index}]: {error.message}") from None
    return name_tools(messages)


def native_tools(tools: list[Any], prefix: str = "") -> list[dict[str, Any]]:
    """Return the functions among tools. Those that only OpenAI's servers have are left out."""
    functions: list[dict[str, Any]] = []
    for tool in tools:
        name = optional(typed(tool, dict, _BAD_TOOL), "name", str, _BAD_TOOL)
        if prefix and not name.startswith(prefix):
            name = prefix + name
        if tool.get("type") == "namespace":
            functions += native_tools(optional(tool, "tools", list, _BAD_TOOL), f"{name}.")
        elif tool.get("type") == "function":
            function: dict[str, Any] = {"name": name}
            function["description"] = optional(tool, "description", str, _BAD_TOOL)
            function["parameters"] = optional(tool, "parameters", dict, _BAD_TOOL)
            functions.append({"type": "function", "function": function})
    return functions


def _add(messages: list[Message], item: Item) -> None:
    """Add an item. The thoughts, text and calls of an assistant become one message."""
    kind = item.get("type") or ("message" if item.get("role") else None)
    if kind is None:
        raise OllamaError(400, "input item missing required 'type' field")
    if not isinstance(kind, str) or kind not in _READERS:
        raise OllamaError(400, f'unknown input item type: "{kind}"')
    message = _READERS[kind](item)
    if message is None:
        return
    last = messages[-1] if messages else None
    if last and last.role == message.role == "assistant" and not message.thinking:
        messages[-1] = msgspec.structs.replace(
            last,
            content="\n".join(filter(None, (last.content, message.content))),
            tool_calls=last.tool_calls + message.tool_calls,
        )
    else:
        messages.append(message)


def _spoken(item: Item) -> Message:
    role = native_role(optional(item, "role", str, "role must be a string"))
    text, images = _content(item.get("content"))
    return Message(role, text, images=images)


def _called(item: Item) -> Message:
    call_id = optional(item, "call_id", str, _BAD_ITEM)
    return Message("assistant", tool_calls=[tool_call(item, call_id, _BAD_ARGUMENTS)])


def _result(item: Item) -> Message:
    text, images = _content(item.get("output"))
    call_id = optional(item, "call_id", str, _BAD_ITEM)
    return Message("tool", text, images=images, tool_call_id=call_id)


def _thought(item: Item) -> Message:
    """Return thoughts of an earlier answer, which carries them whole as "encrypted" content."""
    whole = optional(item, "encrypted_content", str, _BAD_ITEM)
    summary = [
        optional(typed(part, dict, _BAD_ITEM), "text", str, _BAD_ITEM)
        for part in optional(item, "summary", list, _BAD_ITEM)
    ]
    return Message("assistant", thinking=whole or "".join(summary))


def _content(content: Any) -> tuple[str, list[str]]:
    if content is None or isinstance(content, str):
        return content or "", []
    texts: list[str] = []
    images: list[str] = []
    for part in typed(content, list, "content must be a string or array"):
        kind = optional(typed(part, dict, "content must hold objects"), "type", str, _BAD_ITEM)
        if kind in _TEXTS:
            texts.append(typed(part.get(_TEXTS[kind]), str, f"{kind} needs a text"))
        elif kind == "input_image":
            images.append(image_data(typed(part.get("image_url"), str, "invalid image input")))
        elif kind == "input_file":
            raise OllamaError(400, "file inputs are not currently supported")
        elif kind == "input_audio":
            images.append(sound_data(part.get("input_audio")))
        else:
            raise OllamaError(400, f"unknown content type: {kind}")
    return "".join(texts), images


_READERS: dict[str, Callable[[Item], Message | None]] = {
    "message": _spoken,
    "function_call": _called,
    "function_call_output": _result,
    "reasoning": _thought,
    "web_search_call": lambda item: None,
}
