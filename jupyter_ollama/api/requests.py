"""Ids of requests under way, and DELETE /api/requests/{id}, which ends one."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import OllamaError
from .endpoint import Call, Reply

HEADER = "X-Request-Id"
"""Carries the id of a request, in the request if its client has chosen one, and in the answer."""

PRIORITY = "X-Ollama-Priority"
"""Says "bulk" of requests that may wait for others of their user, or "interactive"."""

CANCELLED = OllamaError(499, "request canceled")

_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class RunningRequests:
    """How to end the requests that run or wait. Clients may give several of them the same id."""

    def __init__(self) -> None:
        self._cancels: dict[tuple[str, str], list[Callable[[], None]]] = {}

    @contextmanager
    def known_as(self, user: str, request_id: str, cancel: Callable[[], None]) -> Iterator[None]:
        """Know a request of a user while the block runs."""
        key = (user, request_id)
        self._cancels.setdefault(key, []).append(cancel)
        try:
            yield
        finally:
            self._cancels[key].remove(cancel)
            if not self._cancels[key]:
                del self._cancels[key]

    def cancel(self, user: str, request_id: str) -> bool:
        """End a user's requests of an id; return whether there were any."""
        cancels = list(self._cancels.get((user, request_id), ()))
        for cancel in cancels:
            cancel()
        return bool(cancels)


def choose_id(proposed: str) -> str:
    """Return the id that a client has chosen if it is short and plain, else a new one."""
    return proposed if _ID.fullmatch(proposed) else secrets.token_hex(16)


async def cancel(call: Call) -> Reply:
    """Answer DELETE /api/requests/{id}; what is ended gets an error in place of its end."""
    (request_id,) = call.arguments
    if not call.server.running_requests.cancel(call.requester.name, request_id):
        raise OllamaError(404, f"request '{request_id}' not found")
    return Reply()
