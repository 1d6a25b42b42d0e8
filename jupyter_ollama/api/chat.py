"""POST /api/chat: the next turn of a conversation."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..engine.protocol import ChatPrompt
from ..errors import OllamaError
from ..prompt.messages import Message
from .answering import (
    Run,
    check_capabilities,
    check_ranges,
    resolve_think,
    resolve_truncate,
)
from .endpoint import Call, Reply, Stream
from .models import find_model
from .timestamps import now_utc
from .wire import ChatRequest

if TYPE_CHECKING:
    from ..library.model import Model

_THOUGHTS = re.compile(r"\s*<think>.*?</think>\s*", re.DOTALL)


async def chat(call: Call) -> Reply | Stream:
    """Answer with a message, whole or in parts; without messages load or unload the model."""
    request = call.decode(ChatRequest)
    check_ranges(request)
    if not request.model:
        raise OllamaError(400, "model is required")
    model = await find_model(call, request.model)
    if not request.messages and request.keep_alive == 0:
        call.server.scheduler.expire(model)
        return Reply(_part(request, "", {"done_reason": "unload"}))
    images = any(message.images for message in request.messages)
    needed = ["tools"] * bool(request.tools) + ["vision"] * images
    think = resolve_think(model, request)
    check_capabilities(model, request, "chat", needed)
    prompt = ChatPrompt(
        _conversation(request, model),
        template=model.template,
        tools=request.tools,
        think=think,
        truncate=resolve_truncate(call, request),
    )
    run = Run(call, request, model, prompt)
    return await run.answer(partial(_part, request), empty=not request.messages)


def _part(request: ChatRequest, text: str, end: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "model": request.model,
        "created_at": now_utc(),
        "message": {"role": "assistant", "content": text},
        "done": end is not None,
        **(end or {}),
    }


def _conversation(request: ChatRequest, model: Model) -> list[Message]:
    """Return the model's messages and the request's, under a system message if there is one."""
    asked = [msgspec.structs.replace(m, role=m.role.lower()) for m in request.messages]
    messages = [*model.messages, *asked]
    if asked and asked[0].role != "system" and model.system:
        messages.insert(0, Message("system", model.system))
    if model.config.model_family == "qwen3" or model.name.model == "deepseek-r1":
        return _without_old_thoughts(messages)
    return messages


def _without_old_thoughts(messages: list[Message]) -> list[Message]:
    """Cut the thoughts from what the assistant said before the last question."""
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=0)
    return [
        msgspec.structs.replace(message, content=_THOUGHTS.sub("", message.content, count=1))
        if index < last and message.role == "assistant" and _THOUGHTS.match(message.content)
        else message
        for index, message in enumerate(messages)
    ]
