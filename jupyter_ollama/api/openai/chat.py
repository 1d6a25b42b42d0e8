"""POST /v1/chat/completions: the next turn of a conversation, as OpenAI's clients ask for it."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import msgspec

from ...errors import OllamaError
from .. import chat as native
from ..endpoint import Call, Reply, Stream
from ..request_bounds import check_messages
from ..translation import answer_fields, merged, parts, together, whole_of
from ..wire import ChatRequest
from .answers import Part, finish_reason, head, logprobs, usage
from .messages import native_messages
from .options import choice_options, completion_options, default_options, response_format, think
from .tools import choose_tools, tool_calls
from .wire import ChatCompletionRequest


async def chat_completions(call: Call) -> Reply | Stream:
    """Answer with one message or several, whole or in chunks."""
    request = call.decode(ChatCompletionRequest)
    defaults = await default_options(call, request.model)
    asked = chat_request(request, defaults, call.server.effort_budgets)
    check_messages(call.server, asked.messages, request.n)
    calls = [
        call.carrying(msgspec.structs.replace(asked, options=choice_options(asked.options, choice)))
        for choice in range(request.n)
    ]
    if not asked.stream:
        answers = await together([whole_of(native.chat, one) for one in calls])
        return Reply(completion(request, answers))
    streams = [parts(answer) for answer in await together([native.chat(c) for c in calls])]
    return _chunks(request, streams)


def chat_request(
    request: ChatCompletionRequest, defaults: dict[str, Any], budgets: dict[str, int]
) -> ChatRequest:
    """Translate to a request of /api/chat; see `think` for ``budgets``. Raises OllamaError(400)."""
    if not request.messages:
        raise OllamaError(400, "[] is too short - 'messages'")
    longest = request.max_completion_tokens
    num_predict = request.max_tokens if longest is None else longest
    asked = request.response_format
    schema = asked.get("json_schema")
    tools, tool_choice = choose_tools(request.tools, request.tool_choice)
    return ChatRequest(
        model=request.model,
        messages=native_messages(request.messages),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=request.parallel_tool_calls,
        stream=request.stream and not request.debug_render_only,
        options=completion_options(request, defaults, num_predict),
        format=request.format
        or response_format(asked, schema.get("schema") if isinstance(schema, dict) else None),
        think=think(request, request.reasoning.effort or request.reasoning_effort, budgets),
        logprobs=request.logprobs,
        top_logprobs=request.top_logprobs,
        debug_render_only=request.debug_render_only,
        **answer_fields(request),
    )


def completion(request: ChatCompletionRequest, answers: list[Part]) -> dict[str, Any]:
    """Return the whole answer that Ollama's answers, one for each choice, make."""
    body = head("chatcmpl-", "chat.completion", request.model)
    body["choices"] = [_choice(index, answer) for index, answer in enumerate(answers)]
    body["usage"] = usage(answers, request.n)
    if "_debug_info" in answers[0]:
        body["_debug_info"] = answers[0]["_debug_info"]
    return body


def _choice(index: int, answer: Part) -> dict[str, Any]:
    spoken = answer["message"]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": spoken.get("content", ""),
        "refusal": None,
        "annotations": [],
    }
    if thoughts := spoken.get("thinking"):
        message["reasoning"] = thoughts
    if calls := tool_calls(spoken.get("tool_calls") or []):
        message["tool_calls"] = calls
    tokens = logprobs(answer)
    return {
        "index": index,
        "message": message,
        "logprobs": _probabilities(tokens) if tokens else None,
        "finish_reason": finish_reason(answer, bool(calls)),
    }


def _probabilities(tokens: list[dict[str, Any]]) -> dict[str, Any]:
    return {"content": tokens, "refusal": None}


class Chunks:
    """Converts the parts of an answer to the deltas of one choice."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._started = False
        self._calls = 0

    def of(self, part: Part) -> list[dict[str, Any]]:
        """Return the deltas of a part: thoughts, then text and calls, then a separate end."""
        tokens = logprobs(part)
        deltas = self._deltas(part["message"])
        if not deltas and (tokens or not self._started):
            deltas = [{"content": ""}]
        if not self._started:
            deltas[0] = {"role": "assistant"} | deltas[0]
            self._started = True
        choices = [self._choice(delta, None) for delta in deltas]
        if tokens:
            choices[0]["logprobs"] = _probabilities(tokens)
        if part.get("done"):
            choices.append(self._choice({}, finish_reason(part, self._calls > 0)))
        return choices

    def _deltas(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = []
        if thoughts := message.get("thinking"):
            deltas.append({"reasoning": thoughts})
        spoken: dict[str, Any] = {}
        if text := message.get("content"):
            spoken["content"] = text
        if calls := tool_calls(message.get("tool_calls") or [], self._calls):
            spoken["tool_calls"] = calls
            self._calls += len(calls)
        return [*deltas, spoken] if spoken else deltas

    def _choice(self, delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
        return {"index": self._index, "delta": delta, "finish_reason": reason}


async def _chunks(request: ChatCompletionRequest, streams: list[Stream]) -> Stream:
    chunk = head("chatcmpl-", "chat.completion.chunk", request.model)
    if request.stream_options.include_usage:
        chunk["usage"] = None
    choices = [Chunks(index) for index in range(len(streams))]
    ends: list[Part] = [{} for _ in streams]
    async with aclosing(merged(streams)) as answers:
        async for index, part in answers:
            if part.get("done"):
                ends[index] = part
            for choice in choices[index].of(part):
                yield chunk | {"choices": [choice]}
    if request.stream_options.include_usage:
        yield chunk | {"choices": [], "usage": usage(ends, request.n)}
