"""The bodies of requests, field for field as OpenAI's clients send them."""

from __future__ import annotations

from typing import Any

import msgspec

from ..translation import Extensions


class StreamOptions(msgspec.Struct):
    """What a stream holds besides the answer."""

    include_usage: bool = False


class Reasoning(msgspec.Struct):
    """How much a model is to think."""

    effort: str = ""
    summary: str | None = None


class SampledRequest(Extensions, kw_only=True):
    """What all requests for an answer have in common. None stands for what was not sent."""

    model: str = ""
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


class CompletedRequest(SampledRequest, kw_only=True):
    """What the requests for completions have in common."""

    stream_options: StreamOptions = msgspec.field(default_factory=StreamOptions)
    n: int = 1
    max_tokens: int | None = None
    seed: int | None = None
    stop: Any = None
    logit_bias: dict[str, Any] = {}
    debug_render_only: bool = msgspec.field(default=False, name="_debug_render_only")


class ChatCompletionRequest(CompletedRequest, kw_only=True):
    """The body of POST /v1/chat/completions."""

    messages: list[dict[str, Any]] = []
    max_completion_tokens: int | None = None
    response_format: dict[str, Any] = {}
    tools: list[dict[str, Any]] = []
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    reasoning: Reasoning = msgspec.field(default_factory=Reasoning)
    reasoning_effort: str = ""
    logprobs: bool = False
    top_logprobs: int = 0


class CompletionRequest(CompletedRequest, kw_only=True):
    """The body of POST /v1/completions. ``logprobs`` is how many tokens are told at each place."""

    prompt: Any = ""
    suffix: str = ""
    echo: bool = False
    logprobs: int | None = None


class EmbeddingsRequest(Extensions, kw_only=True):
    """The body of POST /v1/embeddings."""

    model: str = ""
    input: Any = None
    dimensions: int = 0
    encoding_format: str = "float"


class ResponsesRequest(SampledRequest, kw_only=True):
    """The body of POST /v1/responses."""

    input: Any = None
    instructions: str = ""
    max_output_tokens: int | None = None
    reasoning: Reasoning = msgspec.field(default_factory=Reasoning)
    text: dict[str, Any] = {}
    tools: list[dict[str, Any]] = []
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    include: list[str] = []
    top_logprobs: int = 0
    truncation: str = "disabled"
    metadata: dict[str, Any] = {}
    background: bool = False
    previous_response_id: str = ""
    conversation: Any = None
