"""Conversations and tools as Anthropic's clients send them, made into Ollama's."""

from __future__ import annotations

from typing import Any

from ...errors import OllamaError
from ...prompt.messages import Message, ToolCall, ToolCallFunction
from ..images import needed_capabilities
from ..translation import name_tools, optional, typed

Block = dict[str, Any]

_SOUNDS = ("audio", "input_audio")
_NO_SOUND = "Anthropic's API has no audio inputs: send them to /api/chat or /v1/chat/completions"


def native_messages(system: Any, messages: list[dict[str, Any]]) -> list[Message]:
    """Return the messages of a chat. Raises OllamaError(400)."""
    text, _ = _content(system)
    result = [Message("system", text)] if text else []
    for message in messages:
        result += _messages(message)
    return name_tools(result)


def native_tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tools with a schema. Those that only Anthropic's servers have are left out."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.get("name", ""),
                "description": tool.get("description") or "",
                "parameters": tool["input_schema"],
            },
        }
        for tool in tools
        if isinstance(tool.get("input_schema"), dict)
    ]


def openai_tool_choice(choice: dict[str, Any]) -> Any:
    """Return the choice among tools in the words of OpenAI. Raises OllamaError(400)."""
    kind = str(choice.get("type", "auto"))
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name", "")}}
    words = {"auto": "auto", "any": "required", "none": "none"}
    if kind not in words:
        raise OllamaError(400, "tool_choice.type must be auto, any, tool or none")
    return words[kind]


def _messages(message: dict[str, Any]) -> list[Message]:
    """Return the parts of a message: tool results first, each as a separate message."""
    role = optional(message, "role", str, "role must be a string").lower()
    content = message.get("content")
    blocks = [] if isinstance(content, str) else _blocks(content)
    text, images = _content(content)
    spoken = Message(
        role,
        text,
        thinking="".join(
            optional(block, "thinking", str, "thinking block needs a thinking")
            for block in blocks
            if block["type"] == "thinking"
        ),
        images=images,
        tool_calls=[_tool_call(block) for block in blocks if block["type"] == "tool_use"],
    )
    results = [_result(block) for block in blocks if block["type"] == "tool_result"]
    if spoken == Message(role) and results:
        return results
    return [*results, spoken]


def _blocks(content: Any) -> list[Block]:
    blocks = typed(content, list, "content must be a string or array")
    for block in blocks:
        kind = typed(block, dict, "content must hold objects").get("type")
        typed(kind, str, "content block needs a type")
    return blocks


def _content(content: Any) -> tuple[str, list[str]]:
    """Return the text and the images among blocks."""
    if content is None or isinstance(content, str):
        return content or "", []
    blocks = _blocks(content)
    if any(block["type"] in _SOUNDS for block in blocks):
        raise OllamaError(400, _NO_SOUND)
    texts = [
        typed(block.get("text"), str, "text block needs a text")
        for block in blocks
        if block["type"] == "text"
    ]
    return "".join(texts), [_image(block) for block in blocks if block["type"] == "image"]


def _image(block: Block) -> str:
    source = typed(block.get("source"), dict, "invalid image source")
    if source.get("type") != "base64":
        raise OllamaError(
            400,
            f"invalid image source type: {source.get('type', '')}. "
            "Only base64 images are supported.",
        )
    data = typed(source.get("data"), str, "invalid base64 image data")
    if needed_capabilities([data]) == ["audio"]:
        raise OllamaError(400, _NO_SOUND)
    return data


def _tool_call(block: Block) -> ToolCall:
    for name in ("id", "name"):
        if not isinstance(block.get(name), str) or not block[name]:
            raise OllamaError(400, f"tool_use block missing required '{name}' field")
    arguments = optional(block, "input", dict, "tool_use block needs an object as 'input'")
    return ToolCall(ToolCallFunction(block["name"], arguments), id=block["id"])


def _result(block: Block) -> Message:
    text, images = _content(block.get("content"))
    answered = optional(block, "tool_use_id", str, "tool_result block needs a 'tool_use_id'")
    return Message("tool", text, images=images, tool_call_id=answered)
