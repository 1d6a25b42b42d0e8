"""Ids of requests, and DELETE /api/requests/{id}, which cancels them."""

from __future__ import annotations

import re
import secrets

from ..errors import OllamaError
from .endpoint import Call, Reply

HEADER = "X-Request-Id"
"""The header with the id of a request, chosen by the client or else by the server."""

PRIORITY = "X-Ollama-Priority"
"""The header with the priority: "bulk" for requests that may wait for others of their user, or
"interactive"."""

IGNORED = "X-Ollama-Ignored"
"""The header with the load options of a request that had no effect on a shared server."""

BUDGET = "X-Ollama-Budget"
"""The header with a warning about a budget that is nearly spent."""

CANCELLED = OllamaError(499, "request canceled")

_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


def choose_id(proposed: str) -> str:
    """Return the id proposed by a client if it is short and plain, else a new one."""
    return proposed if _ID.fullmatch(proposed) else secrets.token_hex(16)


async def cancel(call: Call) -> Reply:
    """Answer DELETE /api/requests/{id}: cancel the caller's requests of that id."""
    (request_id,) = call.arguments
    if not call.server.running_requests.cancel(request_id, call.requester.name):
        raise OllamaError(404, f"request '{request_id}' not found")
    return Reply()
