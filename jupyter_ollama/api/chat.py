"""POST /api/chat: the next turn of a conversation."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..engine.events import Text
from ..engine.protocol import ChatPrompt, Constraint
from ..errors import OllamaError
from ..parsing.forced import calls_schema
from ..prompt.messages import Message, ToolCall
from ..scheduler.remote_model import RemoteModel
from .answering import (
    NOTHING,
    Run,
    check_capabilities,
    check_ranges,
    logprobs_field,
    resolve_think,
    resolve_truncate,
)
from .endpoint import Call, Reply, Stream
from .images import needed_capabilities, take_images
from .models import find_model, unload
from .request_bounds import check_messages
from .timestamps import now_utc
from .translation import native_role
from .wire import ChatRequest

if TYPE_CHECKING:
    from ..library.model import Model

_THOUGHTS = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)


async def chat(call: Call) -> Reply | Stream:
    """Answer with a message, whole or in parts; without messages load or unload the model."""
    request = call.decode(ChatRequest)
    check_ranges(request)
    check_messages(call.server, request.messages)
    if not request.model:
        raise OllamaError(400, "model is required")
    if not request.messages and request.keep_alive == 0:
        await unload(call, request.model)
        return Reply(_part(request, NOTHING, {"done_reason": "unload"}))
    model = await find_model(call, request.model)
    files = (file for message in request.messages for file in message.images)
    tools, forced_call = choose_tools(request)
    needed = ["tools"] * bool(tools) + needed_capabilities(files)
    if forced_call and isinstance(model, RemoteModel):
        # Its server is asked for a call of any tool: one that is named is offered alone.
        tools = _named_tool(request) or tools
    think, budget = resolve_think(model, request)
    check_capabilities(model, request, "chat", needed)
    turns = conversation(request.messages, model)
    messages, images = await take_images(turns)
    prompt = ChatPrompt(
        messages,
        template=model.prompt_template,
        tools=tools,
        think=think,
        thinking_budget=budget,
        truncate=resolve_truncate(call, request),
        parser=model.parser,
        images=images,
        renderer=model.renderer,
    )
    run = Run(call, request, model, prompt, forced_call=forced_call)
    return await run.answer(partial(_part, request), empty=not request.messages)


def choose_tools(request: ChatRequest) -> tuple[list[dict[str, Any]], Constraint | None]:
    """Return the tools to offer, and the format of the answer where a call is required.

    Raises OllamaError(400).
    """
    choice = request.tool_choice
    if choice == "none":
        return [], None
    if choice in (None, "", "auto"):
        return request.tools, None
    name = choice.get("function", {}).get("name") if isinstance(choice, dict) else None
    names = [(tool.get("function") or {}).get("name") for tool in request.tools]
    if (name is None and choice != "required") or (name is not None and name not in names):
        raise OllamaError(400, 'tool_choice must be "auto", "none", "required" or name a tool')
    if request.format:
        raise OllamaError(400, "format and a tool_choice that requires a call exclude each other")
    try:
        schema = calls_schema(request.tools, name, parallel=request.parallel_tool_calls)
    except RecursionError:
        raise OllamaError(400, "the parameters of a tool are nested too deeply") from None
    return request.tools, Constraint("schema", json.dumps(schema))


def _named_tool(request: ChatRequest) -> list[dict[str, Any]]:
    """Return the tool that the choice names, [] if it names none."""
    choice = request.tool_choice
    name = choice["function"]["name"] if isinstance(choice, dict) else None
    return [tool for tool in request.tools if (tool.get("function") or {}).get("name") == name]


def _part(request: ChatRequest, text: Text, end: dict[str, Any] | None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text.text}
    if text.thinking:
        message["thinking"] = text.thinking
    if text.tool_calls:
        message["tool_calls"] = [_tool_call(call) for call in text.tool_calls]
    return {
        "model": request.model,
        "created_at": now_utc(),
        "message": message,
        "done": end is not None,
        **logprobs_field(text),
        **(end or {}),
    }


def _tool_call(call: ToolCall) -> dict[str, Any]:
    function = call.function
    return {
        "id": call.id,
        "function": {
            "index": function.index,
            "name": function.name,
            "arguments": function.arguments,
        },
    }


def conversation(asked: Sequence[Message], model: Model) -> list[Message]:
    """Return the model's messages and the request's, under a system message if there is one."""
    asked = list(asked)
    if not model.renderer:  # renderers have their own rules for developers
        asked = [msgspec.structs.replace(m, role=native_role(m.role)) for m in asked]
    messages = [*model.messages, *asked]
    if asked and asked[0].role != "system" and model.system:
        messages.insert(0, Message("system", model.system))
    if model.config.model_family == "qwen3" or model.name.model == "deepseek-r1":
        return _without_old_thoughts(messages)
    return messages


def _without_old_thoughts(messages: list[Message]) -> list[Message]:
    """Remove the thoughts from the assistant's messages before the last question."""
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=0)
    return [
        msgspec.structs.replace(message, content=_THOUGHTS.sub("", message.content, count=1))
        if index < last and message.role == "assistant" and _THOUGHTS.match(message.content)
        else message
        for index, message in enumerate(messages)
    ]
