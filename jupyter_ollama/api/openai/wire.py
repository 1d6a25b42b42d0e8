"""The wire of OpenAI's API: bodies of requests, errors and streams."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from ..endpoint import EVENT_STREAM, Dialect
from ..translation import Extensions, event_bytes


class StreamOptions(msgspec.Struct):
    """The contents of a stream besides the answer."""

    include_usage: bool = False


class Reasoning(msgspec.Struct):
    """The effort that a model spends on thinking."""

    effort: str = ""
    summary: str | None = None


class SampledRequest(Extensions, kw_only=True):
    """The common fields of requests for an answer. None stands for a field that was not sent."""

    model: str = ""
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


class CompletedRequest(SampledRequest, kw_only=True):
    """The common fields of requests for completions."""

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
    """The body of POST /v1/completions. ``logprobs`` is the number of tokens per position."""

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


class TranscriptionRequest(msgspec.Struct, kw_only=True):
    """The form of POST /v1/audio/transcriptions. Ollama's fields among them are extensions."""

    file: bytes = b""
    model: str = ""
    language: str = ""
    prompt: str = ""
    response_format: str = "json"
    temperature: float = 0.0
    stream: bool = False
    timestamp_granularities: list[str] = msgspec.field(
        default_factory=list, name="timestamp_granularities[]"
    )
    num_ctx: int | None = None
    keep_alive: str = ""


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


class BatchRequest(msgspec.Struct, kw_only=True):
    """The body of POST /v1/batches."""

    input_file_id: str = ""
    endpoint: str = ""
    completion_window: str = "24h"
    metadata: dict[str, Any] = {}
    output_expires_after: dict[str, Any] = {}


_ERROR_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def _error(status: int, message: str) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "api_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _data(part: dict[str, Any], number: int) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(part)


def _numbered_event(part: dict[str, Any], number: int) -> bytes:
    """Write an event of /v1/responses; errors have the documented fields and those of clients."""
    if "type" not in part:
        error = part["error"]
        part = {"type": "error", "code": error["type"], "message": error["message"], "param": None}
        part["error"] = error
    return event_bytes({"type": part["type"], "sequence_number": number} | part)


OPENAI = Dialect(_error, EVENT_STREAM, _data, b"data: [DONE]\n\n", no_body="EOF")
RESPONSES = Dialect(_error, EVENT_STREAM, _numbered_event, no_body="EOF")
