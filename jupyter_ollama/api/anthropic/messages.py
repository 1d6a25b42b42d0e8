"""POST /v1/messages and its count_tokens: conversations as Anthropic's clients send them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import OllamaError
from .. import chat as native
from ..endpoint import Call, Reply, Stream
from ..models import find_model
from ..openai.tools import choose_tools
from ..translation import answer_fields, events, native_options, parts, whole
from ..wire import ChatRequest, ThinkingBudget, parse_think
from .answers import MessageWriter
from .conversation import native_messages, native_tools, openai_tool_choice
from .wire import CountRequest, MessagesRequest

if TYPE_CHECKING:
    from ...library.model import Model

_EFFORTS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "max"}


async def messages(call: Call) -> Reply | Stream:
    """Answer with a message, whole or as the events that make one."""
    request = call.decode(MessagesRequest)
    if not request.model:
        raise OllamaError(400, "model is required")
    if request.max_tokens <= 0:
        raise OllamaError(400, "max_tokens is required and must be positive")
    options = {
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": request.stop_sequences or None,
    }
    asked = chat_request(request, await _find(call, request), options, request.stream)
    answer = native.chat(call.carrying(asked))
    if request.stream:
        writer = MessageWriter(request.model, _estimate(asked))
        return events(writer, parts(await answer))
    writer = MessageWriter(request.model)
    writer.of(await whole(answer))
    return Reply(writer.message)


async def count_tokens(call: Call) -> Reply:
    """Answer with the tokens of the prompt, which is rendered for it."""
    request = call.decode(CountRequest)
    if not request.model:
        raise OllamaError(400, "model is required")
    asked = chat_request(request, await _find(call, request), {}, stream=False)
    asked.debug_render_only, asked.truncate = True, False
    rendered = await whole(native.chat(call.carrying(asked)))
    return Reply({"input_tokens": rendered["_debug_info"]["prompt_eval_count"]})


async def _find(call: Call, request: CountRequest) -> Model:
    if not request.messages:
        raise OllamaError(400, "messages is required")
    return await find_model(call, request.model)


def chat_request(
    request: CountRequest, model: Model, options: dict[str, Any], stream: bool
) -> ChatRequest:
    """Translate to a request of /api/chat. Raises OllamaError(400)."""
    tools, tool_choice = choose_tools(
        native_tools(request.tools), openai_tool_choice(request.tool_choice)
    )
    return ChatRequest(
        model=request.model,
        messages=native_messages(request.system, request.messages),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=request.tool_choice.get("disable_parallel_tool_use") is not True,
        stream=stream,
        options=native_options(request, options),
        format=request.format or _format(request.output_config),
        # Clients ask it of any model; one that cannot just answers.
        think=_think(request) if "thinking" in model.capabilities else None,
        **answer_fields(request),
    )


def _think(request: CountRequest) -> bool | str | ThinkingBudget | None:
    if request.think is not None:
        return request.think
    kind = str(request.thinking.get("type"))
    budget = request.thinking.get("budget_tokens")
    if kind == "enabled" and budget is not None:
        return parse_think({"budget": budget})
    if kind in ("enabled", "disabled"):
        return kind == "enabled"
    effort = str(request.output_config.get("effort") or "").strip().lower()
    return _EFFORTS.get(effort)


def _format(output_config: dict[str, Any]) -> Any:
    asked = output_config.get("format")
    return asked.get("schema") if isinstance(asked, dict) else None


def _estimate(request: ChatRequest) -> int:
    """Return about how many tokens the prompt has, for the counter that starts a stream."""
    return sum(len(message.content) + len(message.thinking) for message in request.messages) // 4
