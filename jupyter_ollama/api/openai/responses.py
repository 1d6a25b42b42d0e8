"""POST /v1/responses: the next turn of a conversation, which the server does not store."""

from __future__ import annotations

from typing import Any

from ...errors import OllamaError
from .. import chat as native
from ..endpoint import Call, Reply, Stream
from ..translation import answer_fields, events, parts, whole
from ..wire import ChatRequest
from .options import default_options, response_format, sampling_options, think
from .response_input import native_messages, native_tools
from .response_output import ResponseWriter
from .tools import choose_tools
from .wire import ResponsesRequest

_LOGPROBS = "message.output_text.logprobs"
_STATELESS = "responses are not stored, send the whole conversation as input"


async def responses(call: Call) -> Reply | Stream:
    """Answer with a response, whole or as the events that make one."""
    request = call.decode(ResponsesRequest)
    defaults = await default_options(call, request.model)
    asked = chat_request(request, defaults, call.server.effort_budgets)
    answer = native.chat(call.carrying(asked))
    if asked.stream:
        return events(ResponseWriter(request), parts(await answer))
    writer = ResponseWriter(request)
    writer.of(await whole(answer))
    return Reply(writer.response)


def chat_request(
    request: ResponsesRequest, defaults: dict[str, Any], budgets: dict[str, int]
) -> ChatRequest:
    """Translate to a request of /api/chat. Raises OllamaError(400)."""
    for name in ("previous_response_id", "conversation"):
        if getattr(request, name):
            raise OllamaError(400, f"{name} is not supported: {_STATELESS}")
    messages = native_messages(request.instructions, request.input)
    if not messages:
        raise OllamaError(400, "input is required")
    asked = request.text.get("format") or {}
    tools, tool_choice = choose_tools(native_tools(request.tools), request.tool_choice)
    logprobs = _LOGPROBS in request.include or request.top_logprobs > 0
    return ChatRequest(
        model=request.model,
        messages=messages,
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=request.parallel_tool_calls,
        stream=request.stream,
        options=sampling_options(request, defaults, num_predict=request.max_output_tokens),
        format=request.format or response_format(asked, asked.get("schema")),
        think=think(request, request.reasoning.effort, budgets),
        logprobs=logprobs,
        top_logprobs=request.top_logprobs,
        **answer_fields(request),
    )
