"""How Anthropic's API writes errors and streams."""

from __future__ import annotations

from typing import Any

from ..endpoint import EVENT_STREAM, Dialect
from ..translation import event_bytes, new_id

_TYPES = {
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
    kind = _TYPES.get(status, "api_error")
    error = {"type": kind, "message": message}
    return {"type": "error", "error": error, "request_id": new_id("req_")}


def _event(part: dict[str, Any], number: int) -> bytes:
    return event_bytes(part)


ANTHROPIC = Dialect(_error, EVENT_STREAM, _event, no_body="EOF")
