"""How OpenAI's API writes errors and streams."""

from __future__ import annotations

from typing import Any

import orjson

from ..endpoint import EVENT_STREAM, Dialect
from ..translation import event_bytes

_TYPES = {400: "invalid_request_error", 404: "not_found_error"}


def _error(status: int, message: str) -> dict[str, Any]:
    kind = _TYPES.get(status, "api_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _data(part: dict[str, Any], number: int) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(part)


def _numbered_event(part: dict[str, Any], number: int) -> bytes:
    """Write an event of /v1/responses. Errors have what the documents say and clients look for."""
    if "type" not in part:
        told = part["error"]
        part = {"type": "error", "code": told["type"], "message": told["message"], "param": None}
        part["error"] = told
    return event_bytes({"type": part["type"], "sequence_number": number} | part)


OPENAI = Dialect(_error, EVENT_STREAM, _data, b"data: [DONE]\n\n", no_body="EOF")
RESPONSES = Dialect(_error, EVENT_STREAM, _numbered_event, no_body="EOF")
