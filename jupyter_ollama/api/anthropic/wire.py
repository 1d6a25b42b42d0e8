"""The wire of Anthropic's API: bodies of requests, errors and streams."""

from __future__ import annotations

from typing import Any

from ..endpoint import EVENT_STREAM, Dialect
from ..translation import Extensions, event_bytes, new_id


class CountRequest(Extensions, kw_only=True):
    """The body of POST /v1/messages/count_tokens."""

    model: str = ""
    system: Any = None
    messages: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    tool_choice: dict[str, Any] = {}
    thinking: dict[str, Any] = {}
    output_config: dict[str, Any] = {}


class MessagesRequest(CountRequest, kw_only=True):
    """The body of POST /v1/messages."""

    max_tokens: int = 0
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] = []


_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def _error(status: int, message: str) -> dict[str, Any]:
    kind = _ERROR_TYPES.get(status, "api_error")
    error = {"type": kind, "message": message}
    return {"type": "error", "error": error, "request_id": new_id("req_")}


def _event(part: dict[str, Any], number: int) -> bytes:
    return event_bytes(part)


ANTHROPIC = Dialect(_error, EVENT_STREAM, _event, no_body="EOF")
